package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// writeLog makes a run's folder with these lines.
func writeLog(t *testing.T, lines ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "events.jsonl"), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

const (
	runStart    = `{"type":"run.start","run":{"format":1,"id":"x"}}`
	recipeStart = `{"type":"recipe.start","recipe":"r","recipe_start":{"file":"r.yaml","digest":"d1","has_cases":true,"total":1}}`
	sampleA     = `{"type":"sample.end","recipe":"r","case":"a","sample":1,"sample_end":{"verdict":"passed","steps":[]}}`
	sampleB     = `{"type":"sample.end","recipe":"r","case":"b","sample":1,"sample_end":{"verdict":"failed","reason":"oom","steps":[]}}`
)

func TestOpen(t *testing.T) {
	other := strings.ReplaceAll(recipeStart, "d1", "d2")
	whole := writeLog(t, runStart, recipeStart, sampleA)
	for _, test := range []struct {
		name  string
		paths []string
		err   string
	}{
		{"folder", []string{whole}, ""},
		{"file", []string{filepath.Join(whole, "events.jsonl")}, ""},
		{"shards", []string{whole, writeLog(t, runStart, recipeStart, sampleB)}, ""},
		{"different runs", []string{whole, writeLog(t, runStart, strings.ReplaceAll(other, `"r"`, `"s"`))}, ""},
		{"nothing there", []string{whole + "/x"}, "no such file or directory"},
		{"no run", []string{t.TempDir()}, "holds no run: it has no events.jsonl"},
		{"empty", []string{writeLog(t)}, "holds no run: it has no event run.start"},
		{"twice", []string{whole, writeLog(t, runStart, recipeStart, sampleB, sampleA)}, `recipe "r", case "a", sample 1 is there twice: in ` + whole + "/events.jsonl and in "},
		{"twice in one", []string{writeLog(t, runStart, recipeStart, sampleA, sampleA)}, "is there twice"},
		{"the same", []string{whole, whole}, "is there twice"},
		{"another recipe", []string{whole, writeLog(t, runStart, other, sampleB)}, `have different recipes of the name "r" (r.yaml and r.yaml)`},
		{"corrupt", []string{writeLog(t, runStart, "{", sampleA)}, "events.jsonl: line 2: not an event"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Open(test.paths...)
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("error %v, want %q", err, test.err)
			}
		})
	}
}

// What is written to a log after it was opened is not of it: counts and what they count agree.
func TestOpenOfALiveLog(t *testing.T) {
	dir := writeLog(t, runStart, recipeStart, sampleA)
	l := open(t, dir)
	f, err := os.OpenFile(filepath.Join(dir, "events.jsonl"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString(sampleB + "\n")
	var b strings.Builder
	if err := JUnit(&b, l, dir); err != nil {
		t.Fatal(err)
	}
	if strings.Count(b.String(), "<testcase") != 1 || !strings.Contains(b.String(), `tests="1"`) {
		t.Error(b.String())
	}
}

// Of a sample that one run did not end and another did, only the end is shown.
func TestMergedUnfinished(t *testing.T) {
	start := strings.Replace(recipeStart, `"has_cases":true`, `"has_cases":false`, 1)
	step := `{"type":"step.end","recipe":"r","case":"main","sample":1,"step":{"name":"s","verdict":"passed"}}`
	end := `{"type":"sample.end","recipe":"r","case":"main","sample":1,"sample_end":{"verdict":"passed","steps":[{"name":"s","verdict":"passed"}]}}`
	for _, dirs := range [][]string{
		{writeLog(t, runStart, start, step), writeLog(t, runStart, start, step, end)},
		{writeLog(t, runStart, start, step, end), writeLog(t, runStart, start, step)},
		{writeLog(t, runStart, start, step)},
	} {
		var b strings.Builder
		if err := JUnit(&b, open(t, dirs...), "/"); err != nil {
			t.Fatal(err)
		}
		checkJUnit(t, []byte(b.String()))
		if n := strings.Count(b.String(), "<testcase"); n != 1 {
			t.Errorf("%d test cases:\n%s", n, b.String())
		}
	}
}

func TestMerged(t *testing.T) {
	l := open(t, recorded("shard1", "shard2")...)
	if missing := l.MissingShards(); missing != nil {
		t.Errorf("missing %v", missing)
	}
	r := l.Summary().Recipe("word-count")
	if r.Passed != 1 || r.Failed != 1 || r.Start.Total != 2 || len(l.Summary().Runs) != 2 {
		t.Errorf("%+v", r)
	}
	half := open(t, recorded("shard2")...)
	if diff := cmp.Diff([]string{"1/2"}, half.MissingShards()); diff != "" {
		t.Error(diff)
	}
	if w := half.Report().Warnings; len(w) != 1 || !strings.Contains(w[0], "shard 1/2 is missing") {
		t.Errorf("warnings %q", w)
	}
}
