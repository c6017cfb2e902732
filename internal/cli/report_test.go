package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/internal/report"
)

// Merged runs end as one run would have: what is recorded of each, beside its samples, is not lost.
func TestStatusOfMergedRuns(t *testing.T) {
	const exit = `"exit":%d,"duration":1`
	tests := []struct {
		name  string
		ends  []string // of the shards; empty: it was killed
		total int      // of shards, where not all are there
		want  int
	}{
		{"passed", []string{fmt.Sprintf(exit, 0), fmt.Sprintf(exit, 0)}, 2, exitOK},
		{"the first was interrupted", []string{fmt.Sprintf(exit, 130), fmt.Sprintf(exit, 0)}, 2, exitInterrupted},
		{"the first could not be taken down", []string{fmt.Sprintf(exit, 3), fmt.Sprintf(exit, 0)}, 2, exitInfra},
		{"an update was refused", []string{fmt.Sprintf(exit, 1) + `,"refused":true`}, 0, exitFailed},
		{"a shard is missing", []string{fmt.Sprintf(exit, 0), fmt.Sprintf(exit, 0)}, 3, exitFailed},
		{"the last was killed", []string{fmt.Sprintf(exit, 0), ""}, 2, exitFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var paths []string
			for i, end := range tt.ends {
				shard := ""
				if tt.total > 0 {
					shard = fmt.Sprintf("%d/%d", i+1, tt.total)
				}
				paths = append(paths, writeRun(t, fmt.Sprint(i), shard, end))
			}
			log, err := report.Open(paths...)
			if err != nil {
				t.Fatal(err)
			}
			if got := status(mergedOutcome(log)); got != tt.want {
				t.Errorf("exit status %d, want %d", got, tt.want)
			}
		})
	}
}

// writeRun writes the log of a run with one sample that passed and returns its folder.
func writeRun(t *testing.T, caseID, shard, end string) string {
	t.Helper()
	const at = `{"time":"2026-11-23T10:00:00Z","type":`
	text := at + fmt.Sprintf(`"run.start","run":{"format":1,"id":"a","version":"v","provider":"local","dir":"/r","cwd":"/","shard":%q}}`, shard) + "\n" +
		at + `"recipe.start","recipe":"r","recipe_start":{"file":"r.yaml","digest":"d","has_cases":true,"samples":1,"total":1,"pool":1}}` + "\n" +
		at + fmt.Sprintf(`"sample.end","recipe":"r","case":%q,"sample":1,"sample_end":{"verdict":"passed","duration":1,"steps":[]}}`, caseID) + "\n"
	if end != "" {
		text += at + `"run.end","run_end":{` + end + "}}\n"
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, eventsFile), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Merged reports go where no run is: its own reports would be lost.
func TestReportsOfOtherRunsAreKept(t *testing.T) {
	const end = `"exit":0,"duration":1`
	a, b := writeRun(t, "a", "1/2", end), writeRun(t, "b", "2/2", end)
	alone := writeRun(t, "c", "", end)
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, tt := range []struct {
		args string
		want int
	}{
		{a + " " + b, exitUsage},
		{"--out " + a + " " + a + " " + b, exitUsage},
		{"--out " + t.TempDir() + " " + a + " " + b, exitOK},
		{alone, exitOK},
		{"--out " + alone + "/. " + alone + "/events.jsonl", exitOK},
	} {
		if got := Main(append([]string{"report"}, strings.Fields(tt.args)...), file, file, file); got != tt.want {
			t.Errorf("report %s: exit status %d, want %d", tt.args, got, tt.want)
		}
	}
	if _, err := os.Stat(filepath.Join(a, resultsFile)); err == nil {
		t.Error("the reports of another run were replaced")
	}
}
