package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files of these tests")

// golden compares with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func open(t *testing.T, paths ...string) *Log {
	t.Helper()
	l, err := Open(paths...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func recorded(names ...string) []string {
	var paths []string
	for _, name := range names {
		paths = append(paths, filepath.Join("testdata", name))
	}
	return paths
}

// here is the working directory of reports in these tests: what is recorded in testdata/NAME is NAME below it.
func here(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var logs = [][]string{{"cases"}, {"steps"}, {"killed"}, {"shard1", "shard2"}}

func TestReports(t *testing.T) {
	for _, names := range logs {
		t.Run(names[0], func(t *testing.T) {
			l := open(t, recorded(names...)...)
			for _, report := range []struct {
				suffix string
				write  func(io.Writer) error
			}{
				{".junit.xml", func(w io.Writer) error { return JUnit(w, l, here(t)) }},
				{".report.json", func(w io.Writer) error { return JSON(w, l.Report()) }},
				{".results.jsonl", func(w io.Writer) error { return ResultLines(w, l, filepath.Join(here(t), names[0])) }},
				{".md", func(w io.Writer) error {
					_, err := io.WriteString(w, Markdown(l.Report(), maxStepSummary))
					return err
				}},
				{".txt", func(w io.Writer) error {
					return NewConsole(ConsoleOptions{Out: w}).Show(l, "out/report.json", "out/junit.xml", "x.xml")
				}},
			} {
				var buf bytes.Buffer
				if err := report.write(&buf); err != nil {
					t.Fatal(err)
				}
				golden(t, names[0]+report.suffix, buf.Bytes())
			}
		})
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	summary, junit := filepath.Join(dir, "summary.md"), filepath.Join(dir, "new", "j.xml")
	if err := os.WriteFile(summary, []byte("before\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	l := open(t, recorded("shard1", "shard2")...)
	l.SetExit(1)
	files, err := Write(l, Options{Dir: filepath.Join(dir, "out"), Cwd: here(t), JUnit: junit, Results: true, StepSummary: summary})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil || len(data) == 0 {
			t.Errorf("%s: %d bytes, %v", f, len(data), err)
		}
		rel, _ := filepath.Rel(dir, f)
		names = append(names, rel)
	}
	if diff := cmp.Diff([]string{"out/results.jsonl", "out/report.json", "out/junit.xml", "new/j.xml"}, names); diff != "" {
		t.Error(diff)
	}
	var r Report
	data, _ := os.ReadFile(files[1])
	if err := json.Unmarshal(data, &r); err != nil || r.Exit == nil || *r.Exit != 1 || len(r.Runs) != 2 {
		t.Errorf("%v: %s", err, data)
	}
	text, _ := os.ReadFile(summary)
	if !strings.HasPrefix(string(text), "before\n### FAIL") {
		t.Errorf("job summary:\n%s", text)
	}

	// Where one cannot be written the others are.
	blocked := filepath.Join(dir, "blocked")
	if err := os.MkdirAll(filepath.Join(blocked, "report.json", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	files, err = Write(l, Options{Dir: blocked})
	if err == nil || !strings.Contains(err.Error(), filepath.Join(blocked, "report.json")) || len(files) != 1 {
		t.Errorf("wrote %v, error %v", files, err)
	}
}

// A link stays, and what it leads to is written.
func TestWriteThroughLinks(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.Symlink("target", link); err != nil {
		t.Fatal(err)
	}
	l := open(t, recorded("steps")...)
	for _, before := range []string{"", strings.Repeat("long", 1<<16)} { // the first time it leads nowhere
		if before != "" {
			if err := os.WriteFile(target, []byte(before), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		files, err := Write(l, Options{Dir: dir, JUnit: link})
		if err != nil {
			t.Fatal(err)
		}
		want, _ := os.ReadFile(files[1])
		got, _ := os.ReadFile(target)
		if info, err := os.Lstat(link); err != nil || info.Mode().Type() != os.ModeSymlink || !bytes.Equal(got, want) {
			t.Errorf("%v, %v; the target has %d bytes, want %d", info, err, len(got), len(want))
		}
	}
}

func jsonString(s string) (string, error) {
	data, err := json.Marshal(s)
	return string(data), err
}
