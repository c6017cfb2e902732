package expr

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// parseJSON is json(text): exactly one JSON value. Whole numbers that fit are ints.
func parseJSON(r *run, a []any) (any, error) {
	s, ok := a[0].(string)
	if !ok {
		return nil, fmt.Errorf("needs text, got %s", describe(a[0]))
	}
	if err := r.take(jsonMemory(s)); err != nil {
		return nil, err
	}
	return DecodeJSON([]byte(s))
}

// jsonMemory is about what the decoded value takes: an element of a list or map needs much more than its two bytes.
func jsonMemory(s string) int {
	elements := strings.Count(s, ",") + strings.Count(s, "[") + 8*strings.Count(s, "{") + 1
	return len(s) + 40*elements
}

// DecodeJSON decodes exactly one JSON value to what expressions work on. Whole numbers that fit are int (uint64 where
// only that holds them), others float64.
func DecodeJSON(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("there is no JSON in it, it is empty")
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, errors.New("the JSON ends too early")
		}
		return nil, err
	}
	if rest := bytes.TrimLeft(data[d.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return nil, fmt.Errorf("there is more after the JSON value, at byte %d", len(data)-len(rest))
	}
	v = Normalize(v)
	if !finite(v) {
		return nil, errors.New("a number is too large")
	}
	return v, nil
}

func finite(v any) bool {
	switch v := v.(type) {
	case float64:
		return !math.IsInf(v, 0)
	case []any:
		for _, e := range v {
			if !finite(e) {
				return false
			}
		}
	case map[string]any:
		for _, e := range v {
			if !finite(e) {
				return false
			}
		}
	}
	return true
}
