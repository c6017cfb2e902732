package expr

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
)

// parseJSON is json(text): exactly one JSON value. Whole numbers that fit are ints.
func parseJSON(r *run, a []any) (any, error) {
	s, ok := a[0].(string)
	if !ok {
		return nil, fmt.Errorf("needs text, got %s", describe(a[0]))
	}
	_, memory := JSONSize(s)
	if err := r.take(memory); err != nil {
		return nil, err
	}
	return DecodeJSON([]byte(s))
}

// JSONSize returns how many levels of lists and maps there are in JSON text, and about how many bytes the decoded value
// takes: an element needs much more than its two bytes.
func JSONSize[T string | []byte](text T) (depth, memory int) {
	level, units := 0, 1
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case ',':
			units++
		case ':':
			units += 2
		case '[', '{':
			if units++; text[i] == '{' {
				units += 6
			}
			level++
			depth = max(depth, level)
		case ']', '}':
			level--
		}
	}
	return depth, len(text) + 40*units
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
