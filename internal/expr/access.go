package expr

import (
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/expr-lang/expr/vm/runtime"
)

// resolve calls v if it is Lazy, once in an evaluation.
func (r *run) resolve(key lazyKey, v any) (any, error) {
	f, ok := v.(Lazy)
	if !ok {
		return v, nil
	}
	if v, ok := r.lazy[key]; ok {
		return v, nil
	}
	v, err := f()
	if err != nil {
		return nil, err
	}
	if r.lazy == nil {
		r.lazy = map[lazyKey]any{}
	}
	r.lazy[key] = v
	return v, r.pay(size(v))
}

// fetch is base[key] and base.key. A field that a map does not have is null.
func (r *run) fetch(base, key any) (any, error) {
	switch b := base.(type) {
	case absent:
		return b, nil
	case nil:
		return nil, fmt.Errorf("null has no %s", element(key))
	case map[string]any:
		k, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("a map has no %s: its keys are text", element(key))
		}
		v := b[k]
		if _, lazy := v.(Lazy); lazy {
			return r.resolve(lazyKey{reflect.ValueOf(b).Pointer(), k}, v)
		}
		return v, nil
	case string:
		if err := r.pay(len(b)); err != nil {
			return nil, err
		}
		i, err := index(key, utf8.RuneCountInString(b), "text")
		if err != nil {
			return nil, err
		}
		from := runeOffset(b, i)
		_, n := utf8.DecodeRuneInString(b[from:])
		return b[from : from+n], nil
	}
	v := reflect.ValueOf(base)
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		i, err := index(key, v.Len(), "list")
		if err != nil {
			return nil, err
		}
		return v.Index(i).Interface(), nil
	case reflect.Map:
		return runtime.Fetch(base, key), nil
	}
	return nil, fmt.Errorf("%s has no %s", describe(base), element(key))
}

func element(key any) string {
	if s, ok := key.(string); ok {
		return fmt.Sprintf("field %q", s)
	}
	return fmt.Sprintf("element %v", key)
}

// index is the place of an element; negative ones count from the end.
func index(key any, length int, what string) (int, error) {
	i, ok := whole(key)
	if !ok {
		return 0, fmt.Errorf("a %s has no %s", what, element(key))
	}
	at := i
	if at < 0 {
		at += length
	}
	if at < 0 || at >= length {
		return 0, fmt.Errorf("the %s has no element %d: its length is %d", what, i, length)
	}
	return at, nil
}

// whole is a number without a fraction as an int.
func whole(v any) (int, bool) {
	switch v := v.(type) {
	case int:
		return v, true
	case float64:
		return int(v), v == float64(int(v))
	}
	return 0, false
}

// runeOffset is where the character with number i starts.
func runeOffset(s string, i int) int {
	for at := range s {
		if i == 0 {
			return at
		}
		i--
	}
	return len(s)
}

// slice is v[from:to] of a list, or of a text by characters; beyond an end is cut.
func (r *run) slice(v, from, to any) (any, error) {
	s, isText := v.(string)
	length := size(v)
	if isText {
		if err := r.pay(2 * len(s)); err != nil {
			return nil, err
		}
		length = utf8.RuneCountInString(s)
	}
	bound := func(v any, none int) (int, error) {
		if v == nil {
			return none, nil
		}
		i, ok := whole(v)
		if !ok {
			return 0, fmt.Errorf("[from:to] needs whole numbers, got %s", describe(v))
		}
		if i < 0 {
			i += length
		}
		return max(0, min(i, length)), nil
	}
	a, err := bound(from, 0)
	if err != nil {
		return nil, err
	}
	b, err := bound(to, length)
	if err != nil {
		return nil, err
	}
	a = min(a, b)
	if isText {
		at := runeOffset(s, a)
		return s[at : at+runeOffset(s[at:], b-a)], nil
	}
	if l, ok := v.([]any); ok {
		return l[a:b:b], nil
	}
	if k := reflect.ValueOf(v).Kind(); k == reflect.Slice {
		return reflect.ValueOf(v).Slice3(a, b, b).Interface(), nil
	}
	return nil, fmt.Errorf("[from:to] needs text or a list, got %s", describe(v))
}
