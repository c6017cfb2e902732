package expr

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
)

// run is one evaluation. The rewritten expression gives it to every operation.
type run struct {
	meter
	env     Env
	regexps map[string]pattern
	lazy    map[lazyKey]any
}

// lazyKey is a place that holds a Lazy: a root, or a key of a map.
type lazyKey struct {
	in  uintptr
	key string
}

// Eval evaluates e. Results are nil, bool, int, uint64 beyond int, float64, string, []any, map[string]any and what
// Env holds. The error is an *EvalError.
func (e *Expr) Eval(env Env) (any, error) {
	v, _, err := e.eval(env)
	if raw, ok := v.(rawText); ok {
		return string(raw), err
	}
	return v, err
}

// eval is Eval that keeps raw text apart, and lets the caller go on counting.
func (e *Expr) eval(env Env) (any, *run, error) {
	r := &run{env: env, regexps: e.regexps}
	machine := vm.VM{MemoryBudget: listBudget}
	v, err := machine.Run(e.program, r)
	if err == nil {
		v, err = r.plain(v)
	}
	if err != nil {
		return nil, r, e.evalError(err)
	}
	return v, r, nil
}

// Bool evaluates a condition. A result that is neither true nor false is an *EvalError.
func (e *Expr) Bool(env Env) (bool, error) {
	v, err := e.Eval(env)
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, &EvalError{Source: e.source, Offset: e.shift, Message: fmt.Sprintf("a condition must be true or false, this is %s", describe(v))}
	}
	return b, nil
}

// evalError turns what the virtual machine says into an EvalError.
func (e *Expr) evalError(err error) *EvalError {
	if own, ok := errors.AsType[*EvalError](err); ok {
		return own
	}
	out := &EvalError{Source: e.source, Offset: e.shift, Message: err.Error()}
	if ferr, ok := errors.AsType[*file.Error](err); ok {
		out.Offset, out.Message, out.Err = e.offset(ferr.From), ferr.Message, ferr.Prev
	}
	out.Message = clean(out.Message)
	return out
}

var conversion = regexp.MustCompile(`interface conversion: interface (?:\{\}|.*) is (.+), not ([^ ]+)`)

// clean makes readable what Go's runtime and the library say about types.
func clean(message string) string {
	if m := conversion.FindStringSubmatch(message); m != nil {
		return fmt.Sprintf("%s where %s is needed", goType(m[1]), goType(m[2]))
	}
	if strings.HasSuffix(message, "integer divide by zero") {
		return "division by zero"
	}
	if strings.HasPrefix(message, "reflect:") || strings.HasPrefix(message, "runtime error: ") {
		return "a value is not of the type that is needed here"
	}
	if message == "memory budget exceeded" {
		return errMemory.Error()
	}
	if op, ok := strings.CutPrefix(message, "invalid operation: "); ok {
		return "cannot do " + typeName(op)
	}
	return typeName(message)
}

func goType(t string) string {
	switch t {
	case "string", "bool", "int":
		return map[string]string{"string": "text", "bool": "true or false", "int": "a whole number"}[t]
	case "nil":
		return "null"
	case "float64":
		return "a number"
	}
	return typeName(t)
}

// plain makes of a result what Eval promises.
func (r *run) plain(v any) (any, error) {
	switch v := v.(type) {
	case nil, bool, int, float64, string, uint64, rawText:
		return v, nil
	case absent:
		return nil, nil
	case Lazy:
		return nil, errors.New("a value is not there yet")
	case []any:
		for i, e := range v {
			if simple(e) {
				continue
			}
			return r.plainList(v, i)
		}
		return v, r.pay(len(v))
	}
	switch reflect.TypeOf(v).Kind() {
	case reflect.Func:
		return nil, errors.New("the result is a function")
	case reflect.Map, reflect.Slice, reflect.Array:
		n, err := r.deep(v)
		if err == nil {
			err = r.take(n)
		}
		if err != nil {
			return nil, err
		}
		return r.force(Normalize(v))
	}
	return Normalize(v), nil
}

func (r *run) plainList(v []any, from int) (any, error) {
	if err := r.take(16 * len(v)); err != nil {
		return nil, err
	}
	out := make([]any, len(v))
	copy(out, v[:from])
	for i := from; i < len(v); i++ {
		e, err := r.plain(v[i])
		if err != nil {
			return nil, err
		}
		if raw, ok := e.(rawText); ok { // only a whole result is raw
			e = string(raw)
		}
		out[i] = e
	}
	return out, nil
}

// force calls every Lazy below a value that is a result: nobody does later.
func (r *run) force(v any) (any, error) {
	switch v := v.(type) {
	case Lazy:
		return v()
	case []any:
		for i := range v {
			e, err := r.force(v[i])
			if err != nil {
				return nil, err
			}
			v[i] = e
		}
	case map[string]any:
		for k := range v {
			e, err := r.force(v[k])
			if err != nil {
				return nil, err
			}
			v[k] = e
		}
	}
	return v, nil
}

func simple(v any) bool {
	switch v.(type) {
	case nil, bool, int, float64, string:
		return true
	}
	return false
}

// describe names a value's type for messages.
func describe(v any) string {
	switch v := v.(type) {
	case nil, absent:
		return "null"
	case bool:
		return fmt.Sprint(v)
	case string:
		return "text"
	case rawText:
		return "raw text"
	case int, int64, uint64, float64:
		return "a number"
	case []any, []string, []int:
		return "a list"
	case map[string]any:
		return "a map"
	}
	return typeName(reflect.TypeOf(v).String())
}
