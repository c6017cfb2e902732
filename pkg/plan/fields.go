package plan

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/sbxrun/sbxrun/internal/nearest"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// fieldLimit is the most names of fields that are kept. Data with more has no fixed fields.
const fieldLimit = 1000

// fieldSet are the fields that rows of a data file have, all together.
type fieldSet map[string]bool

func (s fieldSet) add(fields map[string]any) {
	for name := range fields {
		if len(s) > fieldLimit {
			return
		}
		s[name] = true
	}
}

// check reports the first expression of the recipe that needs a field of case that no row has. The fields of a data
// file are not known before it was read.
func (s fieldSet) check(r *recipe.Recipe) error {
	if len(s) > fieldLimit {
		return nil
	}
	if len(s) == 0 { // no rows: that is said by another error
		return nil
	}
	s = maps.Clone(s)
	for _, a := range r.Cases.Matrix {
		s[a.Name] = true
	}
	return walk(reflect.ValueOf(r), place{file: r.Path}, func(e compiled, at place) error { return s.known(e.Fields("case"), at) })
}

// compiled is what an expression, a template and a value have in common.
type compiled interface {
	Fields(root string) []string
	Uses(root string, path ...string) bool
}

// walk calls f for every expression below v, up to its first error. Structs of the recipe know their place.
func walk(v reflect.Value, at place, f func(compiled, place) error) error {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		if e, ok := reflect.TypeAssert[compiled](v); ok {
			return f(e, at)
		}
		return walk(v.Elem(), at, f)
	case reflect.Struct:
		if pos := v.FieldByName("Pos"); pos.IsValid() {
			if pos, ok := reflect.TypeAssert[recipe.Pos](pos); ok && pos.Line > 0 {
				at.pos = pos
			}
		}
		for _, field := range v.Fields() {
			if err := walk(field, at, f); err != nil {
				return err
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if err := walk(v.Index(i), at, f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s fieldSet) known(fields []string, at place) error {
	for _, name := range fields {
		if s[name] {
			continue
		}
		message := fmt.Sprintf("unknown name case.%s: no row of the data has this field", name)
		all := slices.Sorted(maps.Keys(s))
		if near, ok := nearest.Nearest(name, all); ok {
			message += fmt.Sprintf(", did you mean case.%s?", near)
		} else {
			message += fmt.Sprintf(" (case?.%s is null where there is none)", name)
		}
		return at.errorf("%s", message)
	}
	return nil
}
