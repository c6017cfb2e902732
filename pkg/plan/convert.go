package plan

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Duration evaluates a duration: a Go duration ("1h30m") or a number of seconds, more than zero.
func Duration(v *expr.Value, env expr.Env) (time.Duration, error) {
	value, err := v.Eval(env)
	if err != nil {
		return 0, err
	}
	return ParseDuration(value)
}

// ParseDuration is a duration as recipes have it: text of Go's form or with a number, or a number of seconds. It must be
// more than zero.
func ParseDuration(v any) (time.Duration, error) {
	var seconds float64
	switch v := v.(type) {
	case string:
		d, err := time.ParseDuration(v)
		if err == nil {
			return positive(d, v)
		}
		if seconds, err = strconv.ParseFloat(v, 64); err != nil {
			return 0, fmt.Errorf("%q is no duration: write such as 90s, 1h30m, or a number of seconds", v)
		}
	case int:
		seconds = float64(v)
	case float64:
		seconds = v
	default:
		return 0, errors.New("a duration is needed: write such as 90s, 1h30m, or a number of seconds")
	}
	if !(seconds < math.MaxInt64/float64(time.Second)) {
		return 0, fmt.Errorf("%v seconds is too long a duration", v)
	}
	return positive(time.Duration(seconds*float64(time.Second)), fmt.Sprint(v))
}

func positive(d time.Duration, source string) (time.Duration, error) {
	if d <= 0 {
		return 0, fmt.Errorf("a duration must be more than zero, got %s", source)
	}
	return d, nil
}

// limits evaluates quantities. What is not given, or has an empty text, is zero: the provider's default.
func limits(l recipe.Limits, env expr.Env) (sandbox.Limits, error) {
	var out sandbox.Limits
	for _, q := range []struct {
		name  string
		from  *expr.Template
		to    *int64
		milli bool
	}{
		{"cpu", l.CPU, &out.CPU, true},
		{"memory", l.Memory, &out.Memory, false},
		{"pids", l.PIDs, &out.PIDs, false},
		{"disk", l.Disk, &out.Disk, false},
		{"inodes", l.Inodes, &out.Inodes, false},
		{"files", l.Files, &out.Files, false},
		{"output", l.Output, &out.Output, false},
	} {
		if q.from == nil {
			continue
		}
		text, err := q.from.Text(env)
		if err == nil && text != "" {
			*q.to, err = quantity(text, q.milli)
		}
		if err != nil {
			return out, fmt.Errorf("limits.%s: %w", q.name, err)
		}
	}
	return out, nil
}

// quantity reads a Kubernetes quantity, as thousandths with milli.
func quantity(text string, milli bool) (int64, error) {
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return 0, fmt.Errorf("%q is no quantity: write such as 500m, 2, 64Mi or 1Gi", text)
	}
	if q.Sign() <= 0 {
		return 0, fmt.Errorf("%s is not more than zero", text)
	}
	unit := int64(1)
	if milli {
		unit = 1000
	}
	if q.CmpInt64(math.MaxInt64/unit) > 0 {
		return 0, fmt.Errorf("%s is too much", text)
	}
	if milli {
		return q.MilliValue(), nil
	}
	return q.Value(), nil
}
