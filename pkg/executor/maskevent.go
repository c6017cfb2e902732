package executor

import (
	"fmt"
	"reflect"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// event returns e with secrets replaced in every text of it. Names with a type of their own (verdicts, reasons, types
// of events) are the program's words and stay.
func (m *masker) event(e event.Event) event.Event {
	if m == nil {
		return e
	}
	return m.copy(reflect.ValueOf(e)).Interface().(event.Event)
}

var stringType = reflect.TypeFor[string]()

// copy returns v, or a copy of v where something below it was replaced or could be.
func (m *masker) copy(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.String:
		if v.Type() == stringType {
			return reflect.ValueOf(m.text(v.String()))
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
			if c.Field(i).CanSet() {
				c.Field(i).Set(m.copy(v.Field(i)))
			}
		}
		return c
	}
	return v
}

// any is copy for a value of a recipe, of data or of a capture: a number there may be a secret too.
func (m *masker) any(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Int, reflect.Int64, reflect.Uint64, reflect.Float64:
		if s := fmt.Sprint(v.Interface()); m.text(s) != s {
			return reflect.ValueOf(masked)
		}
	}
	return m.copy(v)
}
