package expr

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/vm/runtime"
)

// function is one that expressions can call. Cost, if there is one, pays before the work is done; do is nil where the
// library's own does it.
type function struct {
	types []any // pointers to function types, for the checker; none: the library's
	cost  func(r *run, args []any) error
	do    func(r *run, args []any) (any, error)
}

// functions are those that the library does not have.
var functions = map[string]function{
	"json":  {types: []any{new(func(string) any)}, do: parseJSON},
	"lines": {types: []any{new(func(string) []any)}, do: lines},
	"raw":   {types: []any{new(func(any) any)}, do: raw},
}

// replaced are functions of the library whose cost must be known before, or whose result should be another: texts of
// numbers as in templates, maps in the order of their keys.
var replaced = map[string]function{
	"fromJSON":   {do: parseJSON},
	"toJSON":     {cost: deepCost(6, 2)}, // it indents
	"string":     {do: func(r *run, a []any) (any, error) { return r.text(a[0]) }},
	"repeat":     {cost: repeatCost},
	"replace":    {cost: replaceCost},
	"split":      {cost: splitCost},
	"splitAfter": {cost: splitCost},
	"join":       {do: join},
	"keys":       {do: mapFunction(func(k string, _ any) any { return k })},
	"values":     {do: mapFunction(func(_ string, v any) any { return v })},
	"toPairs":    {do: mapFunction(func(k string, v any) any { return []any{k, v} })},
	"uniq":       {do: uniq},
	"flatten":    {cost: deepCost(1, 32)}, // every level copies what is below
	"min":        {cost: deepCost(1, 0)},
	"max":        {cost: deepCost(1, 0)},
	"mean":       {cost: deepCost(1, 0)},
	"median":     {cost: deepCost(4, 8)}, // as flatten
	"sort":       {cost: func(r *run, a []any) error { return r.pay(sortWork(size(a[0]))) }},
	"concat":     {cost: deepCost(1, 0)},
	"toBase64":   {cost: func(r *run, a []any) error { return r.take(2 * size(a[0])) }},
	"upper":      {cost: func(r *run, a []any) error { return r.take(2 * size(a[0])) }},
	"lower":      {cost: func(r *run, a []any) error { return r.take(2 * size(a[0])) }},
	"fromPairs":  {cost: deepCost(2, 0)},
	"get":        {do: get},
	"int":        {cost: fitsInt},
}

// declaration tells the checker the types of a function that is not the library's.
func (f function) declaration(name string) *builtin.Function {
	d := &builtin.Function{Name: name, Func: func(...any) (any, error) { return nil, nil }}
	for _, t := range f.types {
		d.Types = append(d.Types, reflect.TypeOf(t).Elem())
	}
	return d
}

// addFunctions adds an operation for every function.
func addFunctions(add func(string, func(r *run, args []any) (any, error))) {
	one := func(name string, f function) {
		add("function "+name, func(r *run, args []any) (out any, err error) {
			defer func() {
				if p := recover(); p != nil { // the library's functions panic on types that they do not take
					err = fmt.Errorf("%v", p)
				}
				if err != nil && !errors.Is(err, errWork) && !errors.Is(err, errMemory) {
					err = fmt.Errorf("%s(): %s", name, clean(err.Error()))
				}
			}()
			for _, a := range args {
				if err := r.pay(size(a)); err != nil {
					return nil, err
				}
			}
			if f.cost != nil {
				if err := f.cost(r, args); err != nil {
					return nil, err
				}
			}
			if numeric[name] {
				args = narrowed(args)
			}
			if out, err = f.do(r, args); err != nil {
				return nil, err
			}
			return out, r.take(size(out))
		})
	}
	for name, f := range functions {
		one(name, f)
	}
	for _, b := range builtin.Builtins {
		if b.Predicate {
			continue
		}
		f := replaced[b.Name]
		if f.do == nil {
			f.do = library(b)
		}
		one(b.Name, f)
	}
}

// library is a function of the library, in whichever of its forms.
func library(b *builtin.Function) func(*run, []any) (any, error) {
	return func(_ *run, args []any) (any, error) {
		switch {
		case b.Fast != nil:
			return b.Fast(args[0]), nil
		case b.Safe != nil:
			out, _, err := b.Safe(args...)
			return out, err
		}
		return b.Func(args...)
	}
}

// deepCost pays for a walk over the arguments, and for as many bytes as their text has, indented by perLevel, times a
// factor.
func deepCost(factor, perLevel int) func(*run, []any) error {
	return func(r *run, args []any) error {
		for _, a := range args {
			n, err := r.walk(a, 0, perLevel)
			if err == nil {
				err = r.take(product(n, factor))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func repeatCost(r *run, a []any) error {
	s, _ := a[0].(string)
	n, ok := whole(a[1])
	if !ok || n < 0 {
		return fmt.Errorf("wants a count of at least 0, got %v", a[1])
	}
	return r.take(product(len(s), n))
}

func replaceCost(r *run, a []any) error {
	s, old, with := a[0].(string), a[1].(string), a[2].(string)
	n := strings.Count(s, old)
	if len(a) == 4 {
		if limit := runtime.ToInt(a[3]); limit >= 0 {
			n = min(n, limit)
		}
	}
	grown := product(n, len(with))
	if grown < 0 {
		return errMemory
	}
	return r.take(len(s) + grown)
}

func splitCost(r *run, a []any) error {
	return r.take(16 * (strings.Count(a[0].(string), a[1].(string)) + 1))
}

// lines is lines(text): its lines without their ends (\n or \r\n). A last line without an end is a line, an empty text
// has none.
func lines(r *run, a []any) (any, error) {
	s, ok := a[0].(string)
	if !ok {
		return nil, fmt.Errorf("needs text, got %s", describe(a[0]))
	}
	n := strings.Count(s, "\n") + 1
	if err := r.take(40 * n); err != nil {
		return nil, err
	}
	out := make([]any, 0, n)
	for s != "" {
		line, rest, _ := strings.Cut(s, "\n")
		out = append(out, strings.TrimSuffix(line, "\r"))
		s = rest
	}
	return out, nil
}

// raw is raw(value): its text for a shell script, not quoted; of a list the elements with spaces between.
func raw(r *run, a []any) (any, error) {
	list, ok := a[0].([]any)
	if !ok {
		s, err := r.text(a[0])
		return rawText(s), err
	}
	words := make([]string, len(list))
	for i, e := range list {
		s, err := r.text(e)
		if err != nil {
			return nil, err
		}
		words[i] = s
	}
	return rawText(strings.Join(words, " ")), nil
}

// text is TextOf, paid for.
func (r *run) text(v any) (string, error) {
	if s, ok := v.(string); ok {
		return s, nil
	}
	n, err := r.deep(v)
	if err == nil {
		err = r.take(n)
	}
	if err != nil {
		return "", err
	}
	return TextOf(v)
}

// join is join(list, between), of any values.
func join(r *run, a []any) (any, error) {
	between := ""
	if len(a) > 1 {
		between = a[1].(string)
	}
	v := reflect.ValueOf(a[0])
	if v.Kind() != reflect.Slice {
		return nil, fmt.Errorf("needs a list, got %s", describe(a[0]))
	}
	if err := r.take(product(v.Len(), len(between)+16)); err != nil {
		return nil, err
	}
	words := make([]string, v.Len())
	for i := range words {
		s, err := r.text(v.Index(i).Interface())
		if err == nil {
			err = r.take(len(s))
		}
		if err != nil {
			return nil, err
		}
		words[i] = s
	}
	return strings.Join(words, between), nil
}

// mapFunction makes a list of a map's fields, in the order of the keys.
func mapFunction(element func(key string, v any) any) func(*run, []any) (any, error) {
	return func(r *run, a []any) (any, error) {
		m, ok := mapOf(a[0])
		if !ok {
			return nil, fmt.Errorf("needs a map, got %s", describe(a[0]))
		}
		if err := r.take(64 * len(m)); err != nil {
			return nil, err
		}
		out := make([]any, 0, len(m))
		for _, k := range keys(m) {
			v, err := r.fetch(m, k)
			if err != nil {
				return nil, err
			}
			out = append(out, element(k, v))
		}
		return out, nil
	}
}

// uniq compares every element with every different one before it.
func uniq(r *run, a []any) (any, error) {
	list, ok := listOf(a[0])
	if !ok {
		return nil, fmt.Errorf("needs a list, got %s", describe(a[0]))
	}
	seen := make(map[any]bool) // texts and the like need no comparing
	var out, others []any
next:
	for _, e := range list {
		if err := r.take(48); err != nil {
			return nil, err
		}
		switch v := e.(type) {
		case nil, bool, string:
			if !seen[v] {
				seen[v] = true
				out = append(out, e)
			}
			continue
		}
		for _, o := range others {
			if eq, err := r.equal(e, o); err != nil {
				return nil, err
			} else if eq {
				continue next
			}
		}
		others = append(others, e)
		out = append(out, e)
	}
	return out, nil
}

// get is get(value, key): null where there is no such element.
func get(r *run, a []any) (any, error) {
	if len(a) != 2 {
		return nil, fmt.Errorf("needs 2 arguments, got %d", len(a))
	}
	v, err := r.fetch(a[0], a[1])
	if err != nil {
		return nil, nil
	}
	return v, nil
}
