package plan

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/sbxrun/sbxrun/internal/expr"
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

// check reports every field of case that an expression of the recipe needs and no row has. The fields of a data file are
// not known before it was read.
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
	var errs []error
	walk(reflect.ValueOf(r), recipe.Pos{}, func(e compiled, pos recipe.Pos) {
		for _, f := range e.Fields("case") {
			if !s[f.Name] {
				errs = append(errs, s.unknown(f.Name, place{r.Path, r.PosOf(e, f.Offset, pos)}))
			}
		}
	})
	return errors.Join(errs...)
}

// compiled is what an expression, a template and a value have in common.
type compiled interface {
	Fields(root string) []expr.Field
	Uses(root string, path ...string) bool
}

// walk calls f for every expression below v, with the place of the struct it is in.
func walk(v reflect.Value, pos recipe.Pos, f func(compiled, recipe.Pos)) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		if e, ok := reflect.TypeAssert[compiled](v); ok {
			f(e, pos)
			return
		}
		walk(v.Elem(), pos, f)
	case reflect.Struct:
		if own := v.FieldByName("Pos"); own.IsValid() {
			if own, ok := reflect.TypeAssert[recipe.Pos](own); ok && own.Line > 0 {
				pos = own
			}
		}
		for _, field := range v.Fields() {
			walk(field, pos, f)
		}
	case reflect.Slice:
		for i := range v.Len() {
			walk(v.Index(i), pos, f)
		}
	}
}

func (s fieldSet) unknown(name string, at place) error {
	message := fmt.Sprintf("unknown name case.%s: no row of the data has this field", name)
	all := slices.Sorted(maps.Keys(s))
	if near, ok := nearest.Nearest(name, all); ok {
		message += fmt.Sprintf(", did you mean case.%s?", near)
	} else {
		message += fmt.Sprintf(" (case?.%s is null where there is none)", name)
	}
	return at.errorf("%s", message)
}
