package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// Many values, none of them too long, make no line that is: as many are left out as must be, and say so.
func TestLinesOfManyValues(t *testing.T) {
	values := func(n int, v any, prefix ...string) map[string]any {
		m := make(map[string]any, n)
		for i := range n {
			m[fmt.Sprintf("%sv%d", strings.Join(prefix, ""), i)] = v
		}
		return m
	}
	const long = 60_000
	for _, tt := range []struct {
		name   string
		fields map[string]any
		steps  []map[string]any
		left   int // out
	}{
		{"captures of many steps", map[string]any{"id": "a"}, []map[string]any{values(200, strings.Repeat("a", long)), values(120, strings.Repeat("<", long)), {"n": 1}}, 41},
		{"fields of a case", values(300, strings.Repeat("b", long)), nil, 21},
		{"names alone", values(20_000, 1, strings.Repeat("n", 1000)), []map[string]any{{"n": 1}}, 20_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			log, err := OpenEventLog(filepath.Join(dir, "events.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			results, err := OpenResults(filepath.Join(dir, "results.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			sample := event.Sample{Verdict: event.Passed, Fields: tt.fields}
			for _, captures := range tt.steps {
				sample.Steps = append(sample.Steps, event.StepResult{Name: "s", Captures: captures})
			}
			for _, sink := range []event.Sink{log, results} {
				if err := sink.Send(event.Event{Type: event.TypeSampleEnd, Recipe: "r", Case: "a", Sample: 1, SampleEnd: &sample}); err != nil {
					t.Fatal(err)
				}
			}
			log.Close()
			results.Close()
			for _, name := range []string{"events.jsonl", "results.jsonl"} {
				data, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil || !json.Valid(data) {
					t.Fatalf("%s: no JSON, %v", name, err)
				}
				if len(data) > event.MaxLine+1 {
					t.Errorf("%s: %d bytes", name, len(data))
				}
				left := strings.Count(string(data), "(left out: 60002 bytes)")
				if strings.Contains(string(data), `"(left out)":"20000 values"`) {
					left = 20_000
				}
				if left != tt.left {
					t.Errorf("%s: %d values were left out, want %d", name, left, tt.left)
				}
			}
		})
	}
}
