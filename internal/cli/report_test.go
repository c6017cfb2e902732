package cli

import (
	"fmt"
	"os"
	"path/filepath"
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
					shard = fmt.Sprintf(`,"shard":"%d/%d"`, i+1, tt.total)
				}
				const at = `{"time":"2026-11-23T10:00:00Z","type":`
				text := at + `"run.start","run":{"format":1,"id":"a","version":"v","provider":"local","dir":"/r","cwd":"/"` + shard + "}}\n" +
					at + `"recipe.start","recipe":"r","recipe_start":{"file":"r.yaml","digest":"d","has_cases":true,"samples":1,"total":1,"pool":1}}` + "\n" +
					at + fmt.Sprintf(`"sample.end","recipe":"r","case":"%d","sample":1,"sample_end":{"verdict":"passed","duration":1,"steps":[]}}`, i) + "\n"
				if end != "" {
					text += at + `"run.end","run_end":{` + end + "}}\n"
				}
				paths = append(paths, filepath.Join(t.TempDir(), "events.jsonl"))
				if err := os.WriteFile(paths[i], []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
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
