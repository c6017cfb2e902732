package mask

import (
	"fmt"
	"reflect"
)

// Value returns v with secrets replaced in every text of it. Names with a type of their own (verdicts, reasons, types
// of events) are the program's words and stay, as do fields with the tag `mask:"-"`.
func Value[T any](m *Mask, v T) T {
	if m == nil {
		return v
	}
	return replaced(m, v)
}

// replaced is Value for a Mask that is there; apart, so that nothing is put on the heap without one.
func replaced[T any](m *Mask, v T) T {
	in := reflect.ValueOf(&v).Elem()
	in.Set(m.copy(in))
	return v
}

var stringType = reflect.TypeFor[string]()

// copy returns v, or a copy of v where something below it was replaced or could be.
func (m *Mask) copy(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.String:
		if v.Type() == stringType {
			return reflect.ValueOf(m.Text(v.String()))
		}
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		c := reflect.New(v.Type().Elem())
		c.Elem().Set(m.copy(v.Elem()))
		return c
	case reflect.Interface:
		if v.IsNil() {
			return v
		}
		return m.any(v.Elem())
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			c.Index(i).Set(m.copy(v.Index(i)))
		}
		return c
	case reflect.Map:
		if v.IsNil() {
			return v
		}
		c := reflect.MakeMapWithSize(v.Type(), v.Len())
		for k, e := range v.Seq2() {
			c.SetMapIndex(m.copy(k), m.copy(e))
		}
		return c
	case reflect.Struct:
		c := reflect.New(v.Type()).Elem()
		c.Set(v)
		for i := range v.NumField() {
			if c.Field(i).CanSet() && v.Type().Field(i).Tag.Get("mask") != "-" {
				c.Field(i).Set(m.copy(v.Field(i)))
			}
		}
		return c
	}
	return v
}

// any is copy for a value of a recipe, of data or of a capture: a number there may be a secret too.
func (m *Mask) any(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Int, reflect.Int64, reflect.Uint64, reflect.Float64:
		if s := fmt.Sprint(v.Interface()); m.Text(s) != s {
			return reflect.ValueOf(Text)
		}
	}
	return m.copy(v)
}
