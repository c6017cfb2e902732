package check

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/event"
)

// Scores are the numbers of a finished recipe that its gates may name.
type Scores struct {
	// Total is the samples that were run; Passed, Failed and Errors those with the verdict; Flaky is part of Passed.
	Total, Passed, Failed, Errors, Flaky int
	// Durations gives a percentile (0 to 100) of the samples' durations in seconds, and false where there are none.
	Durations func(percentile float64) (float64, bool)
	// Means are the means of captured numbers, by step and name.
	Means map[string]map[string]float64
}

// errNotScored is why a rate has no value.
var errNotScored = errors.New("nothing was scored: no sample passed or failed")

// Gates evaluates gates. One that cannot be evaluated, such as a rate where nothing was scored, does not hold.
func Gates(gates []event.Gate, s Scores) []event.GateResult {
	scope := expr.Known{}.Gate().With(map[string]*expr.Name{"steps": {Kind: expr.Map, Open: true}})
	var durations []string // what duration_p said of the gate at hand
	env := s.env()
	env["duration_p"] = func(args ...any) (any, error) {
		seconds, err := s.durationP(args...)
		if err == nil {
			durations = append(durations, fmt.Sprintf("duration_p(%v) = %s", args[0], decimals(seconds)))
		}
		return seconds, err
	}
	results := make([]event.GateResult, len(gates))
	for i, g := range gates {
		results[i] = event.GateResult{Gate: g}
		durations = nil
		e, err := expr.CompileCondition(g.Source, scope)
		if err == nil {
			results[i].Held, err = e.Bool(env)
		}
		if err == nil {
			results[i].Message = strings.Join(append(s.values(e), durations...), ", ")
		} else {
			results[i].Message = "cannot be evaluated: " + why(err)
		}
	}
	return results
}

func (s Scores) env() expr.Env {
	rate := func(n, of int) expr.Lazy {
		return func() (any, error) {
			if s.Passed+s.Failed == 0 {
				return nil, errNotScored
			}
			return float64(n) / float64(of), nil
		}
	}
	steps := make(map[string]any, len(s.Means))
	for id, means := range s.Means {
		captures := make(map[string]any, len(means))
		for name, mean := range means {
			captures[name] = mean
		}
		steps[id] = captures
	}
	return expr.Env{
		"total": s.Total, "passed": s.Passed, "failed": s.Failed, "errors": s.Errors, "flaky": s.Flaky,
		"pass_rate":  rate(s.Passed, s.Passed+s.Failed),
		"error_rate": rate(s.Errors, s.Passed+s.Failed+s.Errors),
		"steps":      steps,
		"mean":       mean,
	}
}

func (s Scores) durationP(args ...any) (float64, error) {
	if len(args) != 1 {
		return 0, fmt.Errorf("duration_p takes one number, not %d", len(args))
	}
	var p float64
	switch n := args[0].(type) {
	case int:
		p = float64(n)
	case float64:
		p = n
	default:
		return 0, fmt.Errorf("duration_p takes a number, not %v", n)
	}
	if !(p >= 0 && p <= 100) {
		return 0, fmt.Errorf("duration_p takes a percentile from 0 to 100, not %v", p)
	}
	if s.Durations != nil {
		if seconds, ok := s.Durations(p); ok {
			return seconds, nil
		}
	}
	return 0, errors.New("no sample has a duration")
}

// mean returns its argument: in a gate steps.ID.NAME is the mean already.
func mean(args ...any) (any, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("mean takes one capture (steps.ID.NAME), not %d", len(args))
	}
	m, ok := args[0].(float64)
	if !ok {
		return nil, errors.New("mean: no sample captured a number under that name")
	}
	return m, nil
}

// values tells the values of the numbers that e uses.
func (s Scores) values(e *expr.Expr) []string {
	var parts []string
	say := func(name string, value any) {
		if e.Uses(name) {
			parts = append(parts, fmt.Sprintf("%s = %v", name, value))
		}
	}
	say("total", s.Total)
	say("passed", s.Passed)
	say("failed", s.Failed)
	say("errors", s.Errors)
	say("flaky", s.Flaky)
	if s.Passed+s.Failed > 0 {
		say("pass_rate", fmt.Sprintf("%s (%d of %d)", decimals(float64(s.Passed)/float64(s.Passed+s.Failed)), s.Passed, s.Passed+s.Failed))
		say("error_rate", fmt.Sprintf("%s (%d of %d)", decimals(float64(s.Errors)/float64(s.Passed+s.Failed+s.Errors)), s.Errors, s.Passed+s.Failed+s.Errors))
	}
	for _, id := range slices.Sorted(maps.Keys(s.Means)) {
		for _, name := range slices.Sorted(maps.Keys(s.Means[id])) {
			if e.Uses("steps", id, name) {
				parts = append(parts, fmt.Sprintf("mean(steps.%s.%s) = %s", id, name, decimals(s.Means[id][name])))
			}
		}
	}
	return parts
}

// decimals writes at most four decimals.
func decimals(f float64) string {
	text := strconv.FormatFloat(f, 'f', 4, 64)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".")
}
