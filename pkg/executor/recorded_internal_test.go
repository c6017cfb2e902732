package executor

import (
	"reflect"
	"strings"
	"testing"
)

// What is deeper than readers of JSON take is text in events.
func TestDeepIsText(t *testing.T) {
	nested := func(levels int) (v any) {
		v = 1
		for range levels {
			v = []any{map[string]any{"x": v}}
		}
		return v
	}
	shallow, deep := nested(maxDepth/2), nested(maxDepth/2+1)
	if got := recorded(nil, shallow); !reflect.DeepEqual(got, shallow) {
		t.Errorf("%v", got)
	}
	if got, ok := recorded(nil, deep).(string); !ok || !strings.HasPrefix(got, `[{"x":[{"x":`) {
		t.Errorf("%v", got)
	}
	got := fields(map[string]any{"shallow": shallow, "deep": deep, "n": 1})
	if text, ok := got["deep"].(string); !ok || !strings.HasPrefix(text, `[{"x":`) || !reflect.DeepEqual(got["shallow"], shallow) || got["n"] != 1 {
		t.Errorf("%v", got)
	}
}
