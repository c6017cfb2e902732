package expr

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// TruthOf is a value as true or false, also of text, which is what CSV has, in capitals or not.
func TruthOf(v any) (bool, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case string:
		switch strings.ToLower(v) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
	}
	return false, fmt.Errorf("true or false is needed, not %s", quoted(v))
}

// CountOf is a value as a whole number from 1 to most, also of text.
func CountOf(v any, most int) (int, error) {
	text, err := TextOf(v)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("a whole number from 1 to %d is needed, not %s", most, quoted(v))
	}
	return n, nil
}

// quoted is a value for a message: what describe says, or a short text itself.
func quoted(v any) string {
	const most = 60
	switch v := v.(type) {
	case string:
		if len(v) <= most {
			return strconv.Quote(v)
		}
	case int, float64:
		return fmt.Sprint(v)
	}
	return describe(v)
}

// TextOf is a value as it is interpolated: text as it is; numbers in decimal, without an exponent and without a
// fraction where they have none; true and false; null as nothing; lists and maps as JSON on one line; points in time as
// in RFC 3339 and durations as in Go.
func TextOf(v any) (string, error) {
	switch v := v.(type) {
	case nil, absent:
		return "", nil
	case string:
		return v, nil
	case rawText:
		return string(v), nil
	case bool:
		return strconv.FormatBool(v), nil
	case int:
		return strconv.Itoa(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case json.Number:
		return v.String(), nil
	case time.Time:
		return v.Format(time.RFC3339Nano), nil
	case time.Duration:
		return v.String(), nil
	}
	switch k := reflect.TypeOf(v).Kind(); {
	case k == reflect.Slice || k == reflect.Array || k == reflect.Map:
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(Normalize(v)); err != nil {
			return "", fmt.Errorf("%s has no text: %w", describe(v), err)
		}
		return string(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
	case k >= reflect.Int && k <= reflect.Float64:
		return fmt.Sprint(v), nil
	}
	return "", fmt.Errorf("%s has no text", describe(v))
}

// Normalize turns what decoders make (json.Number, map[any]any, int64, []string, ...) into what expressions work on:
// nil, bool, int, uint64 where int is too small, float64, string, []any, map[string]any. Other values stay, such as a
// time.Time. Lists and maps that are in order already are not copied.
func Normalize(v any) any {
	switch v := v.(type) {
	case nil, bool, int, float64, string, Lazy, time.Time, time.Duration:
		return v
	case json.Number:
		return number(v)
	case []byte:
		return string(v)
	case []any:
		for i, e := range v {
			if !simple(e) {
				out := make([]any, len(v))
				copy(out, v[:i])
				for j := i; j < len(v); j++ {
					out[j] = Normalize(v[j])
				}
				return out
			}
		}
		return v
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = Normalize(e)
		}
		return out
	}
	r := reflect.ValueOf(v)
	switch k := r.Kind(); {
	case k >= reflect.Int && k <= reflect.Int64:
		return int(r.Int())
	case k >= reflect.Uint && k <= reflect.Uintptr:
		if u := r.Uint(); u > math.MaxInt {
			return u
		}
		return int(r.Uint())
	case k == reflect.Float32:
		return r.Float()
	case k == reflect.String:
		return r.String()
	case k == reflect.Slice || k == reflect.Array:
		out := make([]any, r.Len())
		for i := range out {
			out[i] = Normalize(r.Index(i).Interface())
		}
		return out
	case k == reflect.Map:
		out := make(map[string]any, r.Len())
		for it := r.MapRange(); it.Next(); {
			out[keyText(it.Key())] = Normalize(it.Value().Interface())
		}
		return out
	}
	return v
}

// number is a JSON number: whole ones that fit are int or uint64, so that no digit of an identifier is lost.
func number(n json.Number) any {
	if i, err := strconv.ParseInt(string(n), 10, 64); err == nil {
		return int(i)
	}
	if u, err := strconv.ParseUint(string(n), 10, 64); err == nil {
		return u
	}
	f, _ := strconv.ParseFloat(string(n), 64) // beyond its range: infinite
	return f
}

// equal says whether two values are equal: numbers by value (3 == 3.0), lists and maps by their elements. It is paid for by
// every element that is looked at.
func (r *run) equal(a, b any) (bool, error) {
	if err := r.pay(10); err != nil {
		return false, err
	}
	switch a := a.(type) {
	case nil:
		return b == nil, nil
	case string:
		b, ok := b.(string)
		if !ok || len(a) != len(b) {
			return false, nil
		}
		if err := r.pay(len(a) / 8); err != nil {
			return false, err
		}
		return a == b, nil
	case bool:
		b, ok := b.(bool)
		return ok && a == b, nil
	case int:
		if b, ok := b.(int); ok {
			return a == b, nil
		}
	case time.Time:
		b, ok := b.(time.Time)
		return ok && a.Equal(b), nil
	case []any:
		b, ok := listOf(b)
		if !ok || len(a) != len(b) {
			return false, nil
		}
		for i := range a {
			if eq, err := r.equal(a[i], b[i]); !eq || err != nil {
				return false, err
			}
		}
		return true, nil
	case map[string]any:
		b, ok := mapOf(b)
		if !ok || len(a) != len(b) {
			return false, nil
		}
		for k, v := range a {
			w, ok := b[k]
			if !ok {
				return false, nil
			}
			if eq, err := r.equal(v, w); !eq || err != nil {
				return false, err
			}
		}
		return true, nil
	}
	if b == nil {
		return false, nil
	}
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	switch {
	case isNumber(x) && isNumber(y):
		order, ordered := compareNumbers(x, y)
		return ordered && order == 0, nil
	case x.Kind() == reflect.Slice, x.Kind() == reflect.Array:
		list, _ := listOf(a)
		return r.equal(list, b)
	case x.Kind() == reflect.Map:
		m, _ := mapOf(a)
		return r.equal(m, b)
	}
	return x.Type() == y.Type() && x.Comparable() && a == b, nil
}

// listOf is v as a list, with its elements as they are.
func listOf(v any) ([]any, bool) {
	if l, ok := v.([]any); ok || v == nil {
		return l, ok
	}
	r := reflect.ValueOf(v)
	if r.Kind() != reflect.Slice && r.Kind() != reflect.Array {
		return nil, false
	}
	out := make([]any, r.Len())
	for i := range out {
		out[i] = r.Index(i).Interface()
	}
	return out, true
}

// mapOf is v as a map with texts for keys, with its values as they are.
func mapOf(v any) (map[string]any, bool) {
	if m, ok := v.(map[string]any); ok || v == nil {
		return m, ok
	}
	r := reflect.ValueOf(v)
	if r.Kind() != reflect.Map {
		return nil, false
	}
	out := make(map[string]any, r.Len())
	for it := r.MapRange(); it.Next(); {
		out[keyText(it.Key())] = it.Value().Interface()
	}
	return out, true
}

func keyText(key reflect.Value) string {
	s, err := TextOf(key.Interface())
	if err != nil {
		return fmt.Sprint(key.Interface())
	}
	return s
}

func isNumber(v reflect.Value) bool {
	return v.CanInt() && v.Type() != reflect.TypeFor[time.Duration]() || v.CanUint() || v.CanFloat()
}
