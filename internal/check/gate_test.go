package check

import (
	"testing"

	"github.com/sbxrun/sbxrun/pkg/event"
)

func TestGates(t *testing.T) {
	scores := Scores{Total: 10, Passed: 6, Failed: 2, Errors: 2, Flaky: 1,
		Durations: func(p float64) (float64, bool) { return p / 10, true },
		Means:     map[string]map[string]float64{"judge": {"score": 0.625}},
	}
	tests := []struct {
		source  string
		scores  Scores
		held    bool
		message string
	}{
		{"pass_rate >= 0.75", scores, true, "pass_rate = 0.75 (6 of 8)"},
		{"pass_rate > 0.75", scores, false, "pass_rate = 0.75 (6 of 8)"},
		{"error_rate <= 0.2 && errors < 3", scores, true, "errors = 2, error_rate = 0.2 (2 of 10)"},
		{"total == 10 && passed == 6 && failed == 2 && flaky == 1", scores, true, "total = 10, passed = 6, failed = 2, flaky = 1"},
		{"${{ failed == 0 }}", scores, false, "failed = 2"},
		{"duration_p(95) < 10", scores, true, "duration_p(95) = 9.5"},
		{"duration_p(95) < 9.5", scores, false, "duration_p(95) = 9.5"},
		{"mean(steps.judge.score) > 0.6", scores, true, "mean(steps.judge.score) = 0.625"},
		{"pass_rate >= 0", Scores{Total: 2, Errors: 2}, false, "cannot be evaluated: nothing was scored: no sample passed or failed"},
		{"!(pass_rate > 1)", Scores{}, false, "cannot be evaluated: nothing was scored: no sample passed or failed"},
		{"error_rate >= 0", Scores{}, false, "cannot be evaluated: nothing was scored: no sample passed or failed"},
		{"errors == 2", Scores{Total: 2, Errors: 2}, true, "errors = 2"},
	}
	for _, tt := range tests {
		t.Run(tt.source, func(t *testing.T) {
			r := Gates([]event.Gate{{Source: tt.source, Line: 3}}, tt.scores)
			if len(r) != 1 || r[0].Held != tt.held || r[0].Message != tt.message || r[0].Line != 3 {
				t.Errorf("got  %+v\nwant %v %q", r, tt.held, tt.message)
			}
		})
	}
}

// A gate that cannot be evaluated does not hold, whichever way round it is written.
func TestGatesUnknown(t *testing.T) {
	for _, source := range []string{"duration_p(50) >= 0", "duration_p(101) >= 0", `duration_p("x") >= 0`, "duration_p() >= 0",
		"mean(steps.judge.other) >= 0", "mean(steps.nobody.score) >= 0", "mean() >= 0", "nonsense > 1", "total", "pass_rate >", ""} {
		r := Gates([]event.Gate{{Source: source}}, Scores{Passed: 1, Total: 1, Means: map[string]map[string]float64{"judge": {"score": 1}}})
		if r[0].Held || r[0].Message == "" {
			t.Errorf("%s: %+v", source, r[0])
		}
	}
}
