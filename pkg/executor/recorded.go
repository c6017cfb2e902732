package executor

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/sbxrun/sbxrun/internal/mask"
	"github.com/sbxrun/sbxrun/pkg/event"
)

// maxRecorded is the most bytes of a captured value that an event carries; expressions see all of it.
const maxRecorded = 64 << 10

// recorded returns a captured value as an event can carry it: what JSON has, masked before it is cut to a bounded size.
func recorded(m *mask.Mask, v any) any {
	v = mask.Value(m, plain(v))
	if text, ok := v.(string); ok {
		return event.Cut(text, maxRecorded)
	}
	if weight(v, maxRecorded, maxDepth) > 0 {
		return v
	}
	return asText(v)
}

// maxDepth is how deep lists and maps lie in each other in what an event carries. Readers of JSON have limits of their own,
// some of a few hundred, and what one of them cannot read loses its whole file.
const maxDepth = 100

func asText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("(cannot be shown: %v)", err)
	}
	return event.Cut(string(text), maxRecorded)
}

// weight takes the size of v from room, and stops when nothing is left. What has more levels takes all.
func weight(v any, room, levels int) int {
	switch v := v.(type) {
	case string:
		return room - len(v)
	case []any:
		if levels == 0 {
			return 0
		}
		for _, e := range v {
			if room = weight(e, room-1, levels-1); room <= 0 {
				break
			}
		}
		return room
	case map[string]any:
		if levels == 0 {
			return 0
		}
		for k, e := range v {
			if room = weight(e, room-len(k)-1, levels-1); room <= 0 {
				break
			}
		}
		return room
	}
	return room - 8
}

// plain returns v with what JSON does not have as text: infinities, NaN, values of unknown types. It copies only lists
// and maps that hold such a value.
func plain(v any) any {
	switch v := v.(type) {
	case []any:
		if isPlain(v) {
			return v
		}
		c := make([]any, len(v))
		for i, e := range v {
			c[i] = plain(e)
		}
		return c
	case map[string]any:
		if isPlain(v) {
			return v
		}
		c := make(map[string]any, len(v))
		for k, e := range v {
			c[k] = plain(e)
		}
		return c
	}
	if isPlain(v) {
		return v
	}
	return fmt.Sprint(v)
}

func isPlain(v any) bool {
	switch v := v.(type) {
	case nil, bool, int, int64, uint64, string:
		return true
	case float64:
		return !math.IsNaN(v) && !math.IsInf(v, 0)
	case []any:
		for _, e := range v {
			if !isPlain(e) {
				return false
			}
		}
		return true
	case map[string]any:
		for _, e := range v {
			if !isPlain(e) {
				return false
			}
		}
		return true
	}
	return false
}

// fields is plain for a case's fields; what is too deep is text.
func fields(m map[string]any) map[string]any {
	if len(m) == 0 {
		return nil
	}
	m = plain(m).(map[string]any)
	if weight(m, math.MaxInt, 1+maxDepth) > 0 {
		return m
	}
	c := make(map[string]any, len(m))
	for k, e := range m {
		if weight(e, math.MaxInt, maxDepth) <= 0 {
			e = asText(e)
		}
		c[k] = e
	}
	return c
}
