package golden

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// result is a line of results.jsonl.
type result struct {
	Recipe, ID      string
	Sample          int
	Case            map[string]any
	Verdict, Reason string
	Message         string
	Flaky           bool
	Duration        float64
	Phases          map[string]float64
	Steps           []stepResult
	Dir             string
	Tries           int
	Reused          bool
}

type stepResult struct {
	Name, ID        string
	Verdict, Reason string
	Exit            int
	Duration        float64
	Tries           int
	Captures        map[string]any
}

// results DIR [short]: prints what results.jsonl of a run says, in the order of recipe, case and sample, without times;
// in short, without the steps.
func results(ts *testscript.TestScript, neg bool, args []string) {
	short := len(args) == 2 && args[1] == "short"
	if neg || len(args) != 1 && !short {
		ts.Fatalf("usage: results DIR [short]")
	}
	all, err := readResults(ts.MkAbs(args[0]))
	ts.Check(err)
	for _, r := range all {
		fmt.Fprintf(ts.Stdout(), "%s %s#%d %s", r.Recipe, r.ID, r.Sample, verdict(r.Verdict, r.Reason))
		if r.Flaky {
			fmt.Fprint(ts.Stdout(), " flaky")
		}
		if r.Dir != "" {
			fmt.Fprintf(ts.Stdout(), " dir=%s", r.Dir)
		}
		fmt.Fprintln(ts.Stdout())
		for line := range strings.Lines(r.Message) {
			fmt.Fprintf(ts.Stdout(), "    %s\n", strings.TrimSuffix(line, "\n"))
		}
		if short {
			continue
		}
		for _, s := range r.Steps {
			s.print(ts.Stdout())
		}
	}
}

func (s stepResult) print(w io.Writer) {
	fmt.Fprintf(w, "  - %s: %s", s.Name, verdict(s.Verdict, s.Reason))
	if s.Verdict != "skipped" && s.Verdict != "not_run" {
		fmt.Fprintf(w, " exit=%d", s.Exit)
	}
	if s.Tries > 1 {
		fmt.Fprintf(w, " tries=%d", s.Tries)
	}
	if len(s.Captures) > 0 {
		text, _ := json.Marshal(s.Captures) // was JSON
		fmt.Fprintf(w, " %s", text)
	}
	fmt.Fprintln(w)
}

func verdict(v, reason string) string {
	if reason == "" {
		return v
	}
	return v + "/" + reason
}

// findings DIR: prints every expectation of a run that does not hold, in the order of the cases.
func findings(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: findings DIR")
	}
	data, err := os.ReadFile(filepath.Join(ts.MkAbs(args[0]), "events.jsonl"))
	ts.Check(err)
	var all []string
	for line := range bytes.Lines(data) {
		var e struct {
			Type, Recipe, Case string
			Step               struct {
				Name     string
				Findings []struct{ Expect, Message, Diff string }
			}
		}
		ts.Check(json.Unmarshal(line, &e))
		if e.Type != "step.end" {
			continue
		}
		for _, f := range e.Step.Findings {
			all = append(all, fmt.Sprintf("%s %s: %s: %s: %s\n", e.Recipe, e.Case, e.Step.Name, f.Expect, f.Message))
		}
	}
	slices.SortStableFunc(all, func(a, b string) int { // by recipe and case; findings of a step stay in their order
		x, _, _ := strings.Cut(a, ":")
		y, _, _ := strings.Cut(b, ":")
		return cmp.Compare(x, y)
	})
	for _, f := range all {
		fmt.Fprint(ts.Stdout(), f)
	}
}

// readResults reads results.jsonl of the run in dir, every line of which must have the keys that readers rely on and no
// others.
func readResults(dir string) ([]result, error) {
	data, err := os.ReadFile(filepath.Join(dir, "results.jsonl"))
	if err != nil {
		return nil, err
	}
	var all []result
	for line := range bytes.Lines(data) {
		var r result
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.DisallowUnknownFields()
		dec.UseNumber()
		if err := dec.Decode(&r); err != nil {
			return nil, fmt.Errorf("results.jsonl: %w: %s", err, line)
		}
		var keys struct{ Steps []map[string]any }
		if err := json.Unmarshal(line, &keys); err != nil {
			return nil, err
		}
		for _, step := range keys.Steps {
			for _, key := range []string{"name", "verdict", "reason", "exit", "duration", "tries", "captures"} {
				if step[key] == nil {
					return nil, fmt.Errorf("results.jsonl: a step without %s: %s", key, line)
				}
			}
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b result) int {
		return cmp.Or(cmp.Compare(a.Recipe, b.Recipe), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Sample, b.Sample))
	})
	return all, nil
}
