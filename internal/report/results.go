package report

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// Results writes results.jsonl: a line for each sample that ended.
type Results struct{ lines *lineFile }

// OpenResults appends to the file at path. A torn last line is cut off.
func OpenResults(path string) (*Results, error) {
	lines, err := openLines(path)
	if err != nil {
		return nil, fmt.Errorf("open the results: %w", err)
	}
	return &Results{lines}, nil
}

// Send writes a line if the event is the end of a sample. It may be called from several goroutines.
func (r *Results) Send(e event.Event) error {
	if e.Type != event.TypeSampleEnd {
		return nil
	}
	err := writeLine(r.lines, e, func(e event.Event) any { return result(e, e.SampleEnd.Dir) })
	if err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	return nil
}

// Close syncs and closes the file.
func (r *Results) Close() error {
	if err := r.lines.close(); err != nil {
		return fmt.Errorf("close the results: %w", err)
	}
	return nil
}

// resultLine is a line of results.jsonl. What other programs read is always there, what is rare only where it is so.
type resultLine struct {
	Recipe   string             `json:"recipe"`
	ID       string             `json:"id"`
	Sample   int                `json:"sample"`
	Case     map[string]any     `json:"case"`
	Verdict  event.Verdict      `json:"verdict"`
	Reason   event.Reason       `json:"reason"`
	Message  string             `json:"message"`
	Flaky    bool               `json:"flaky"`
	Duration float64            `json:"duration"` // seconds
	Phases   map[string]float64 `json:"phases"`
	Steps    []stepLine         `json:"steps"`
	Dir      string             `json:"dir"`
	Reused   bool               `json:"reused,omitempty"`
	Tries    int                `json:"tries,omitempty"`
}

// stepLine is a step in it, of which the same holds.
type stepLine struct {
	event.StepResult
	Reason   event.Reason   `json:"reason"`
	Captures map[string]any `json:"captures"`
}

func result(e event.Event, dir string) *resultLine {
	s := e.SampleEnd
	line := &resultLine{
		Recipe: e.Recipe, ID: e.Case, Sample: e.Sample, Case: s.Fields, Verdict: s.Verdict, Reason: s.Reason,
		Message: s.Message, Flaky: s.Flaky, Duration: s.Duration, Phases: s.Phases, Steps: []stepLine{}, Dir: dir,
		Reused: s.Reused, Tries: s.Tries,
	}
	if line.Case == nil {
		line.Case = map[string]any{}
	}
	if line.Phases == nil {
		line.Phases = map[string]float64{}
	}
	for _, step := range s.Steps {
		captures := step.Captures
		if captures == nil {
			captures = map[string]any{}
		}
		line.Steps = append(line.Steps, stepLine{step, step.Reason, captures})
	}
	return line
}

// ResultLines writes results.jsonl of a finished log, for a file in the folder dir: what the runs call dir is relative to
// it.
func ResultLines(w io.Writer, l *Log, dir string) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for e, err := range l.all(event.TypeSampleStart, event.TypeStepStart, event.TypeTryEnd, event.TypeStepEnd) {
		if err != nil {
			return err
		}
		if e.Type != event.TypeSampleEnd {
			continue
		}
		artifacts := e.SampleEnd.Dir
		if artifacts != "" && e.part.dir != dir {
			artifacts = relative(dir, filepath.Join(e.part.dir, artifacts))
		}
		if err := enc.Encode(result(e.Event, artifacts)); err != nil {
			return err
		}
	}
	return nil
}

// relative is path as seen from dir; both are absolute.
func relative(dir, path string) string {
	if rel, err := filepath.Rel(dir, path); err == nil {
		return filepath.ToSlash(rel)
	}
	return path
}
