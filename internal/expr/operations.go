package expr

import (
	"fmt"
	"reflect"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/vm/runtime"
)

// rawText is the result of raw(): text that a shell script takes as it is.
type rawText string

// absent is what a?.b is where a is null, until the chain ends.
type absent struct{}

// patternLimit is the most bytes of a pattern that is not in the source: repetitions (x{1000}) multiply it.
const patternLimit = 4 << 10

// pattern is a compiled regular expression and the number of instructions that it may be in at once.
type pattern struct {
	*regexp.Regexp
	size int
}

func compilePattern(s string) (pattern, error) {
	tree, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return pattern{}, err
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return pattern{}, err
	}
	re, err := regexp.Compile(s)
	return pattern{re, len(prog.Inst)}, err
}

// operations are what rewritten expressions call: operators by their sign, the rest by a name.
var operations map[string]*builtin.Function

func init() { // the table refers to functions that look into it
	operations = map[string]*builtin.Function{}
	add := func(name string, f func(r *run, args []any) (any, error)) {
		operations[name] = &builtin.Function{Name: name, Func: func(args ...any) (any, error) {
			r := args[0].(*run)
			if err := r.pay(callWork); err != nil {
				return nil, err
			}
			return f(r, args[1:])
		}}
	}
	add("name", func(r *run, a []any) (any, error) {
		name := a[0].(string)
		return r.resolve(lazyKey{key: name}, r.env[name])
	})
	add("fetch", func(r *run, a []any) (any, error) { return r.fetch(a[0], a[1]) })
	add("fetch?", func(r *run, a []any) (any, error) {
		if a[0] == nil {
			return absent{}, nil
		}
		return r.fetch(a[0], a[1])
	})
	add("chain", func(_ *run, a []any) (any, error) {
		if _, ok := a[0].(absent); ok {
			return nil, nil
		}
		return a[0], nil
	})
	add("slice", func(r *run, a []any) (any, error) { return r.slice(a[0], a[1], a[2]) })
	add("tick", func(r *run, a []any) (any, error) { return a[1], r.pay(a[0].(int)) })
	add("list", func(r *run, a []any) (any, error) { return r.list(a[0].(string), a[1]) })
	add("invoke", func(r *run, a []any) (any, error) { return r.invoke(a[0].(string), a[1:]) })
	add("==", func(r *run, a []any) (any, error) { return r.equal(a[0], a[1]) })
	add("!=", func(r *run, a []any) (any, error) {
		eq, err := r.equal(a[0], a[1])
		return !eq, err
	})
	addNumbers(add)
	add("in", func(r *run, a []any) (any, error) { return r.in(a[0], a[1]) })
	add("..", func(r *run, a []any) (any, error) {
		if isWide(a[0]) || isWide(a[1]) {
			return nil, fmt.Errorf("%v..%v is too long a list", a[0], a[1])
		}
		return r.span(runtime.ToInt(a[0]), runtime.ToInt(a[1]))
	})
	add("matches", func(r *run, a []any) (any, error) { return r.matches(a[0], a[1]) })
	for name, f := range map[string]func(s, t string) bool{
		"contains": strings.Contains, "startsWith": strings.HasPrefix, "endsWith": strings.HasSuffix,
	} {
		add(name, func(r *run, a []any) (any, error) {
			s, t, err := texts(name, a[0], a[1])
			if err != nil || a[0] == nil || a[1] == nil {
				return false, err
			}
			return f(s, t), r.pay(len(s) + len(t))
		})
	}
	addFunctions(add)
}

// texts are the operands of an operator on texts. Null has no text in it.
func texts(operator string, a, b any) (string, string, error) {
	s, ok := a.(string)
	if !ok && a != nil {
		return "", "", fmt.Errorf("%s needs text on its left, got %s", operator, describe(a))
	}
	t, ok := b.(string)
	if !ok && b != nil {
		return "", "", fmt.Errorf("%s needs text on its right, got %s", operator, describe(b))
	}
	return s, t, nil
}

// list is what a loop goes over. The loop's bodies pay for themselves, this is for the lists that the loop makes.
func (r *run) list(loop string, v any) (any, error) {
	k := reflect.Invalid
	if v != nil {
		k = reflect.TypeOf(v).Kind()
	}
	if k != reflect.Slice && k != reflect.Array {
		return nil, fmt.Errorf("%s() needs a list, got %s", loop, describe(v))
	}
	n := size(v)
	switch loop {
	case "map", "filter":
		return v, r.take(16 * n)
	case "groupBy":
		return v, r.take(64 * n)
	case "sortBy":
		if err := r.pay(sortWork(n)); err != nil {
			return nil, err
		}
		return v, r.take(32 * n)
	case "sum":
		if list, ok := v.([]any); ok && slices.ContainsFunc(list, isWide) {
			return narrowed(list), r.take(40 * n)
		}
	}
	return v, r.pay(20 * n)
}

// sortWork is the work of sorting n elements.
func sortWork(n int) int {
	depth := 1
	for m := n; m > 1; m /= 2 {
		depth++
	}
	return product(n, depth*callWork)
}

// invoke calls a function of the Env.
func (r *run) invoke(name string, args []any) (any, error) {
	var out any
	var err error
	switch f := r.env[name].(type) {
	case func(...any) (any, error):
		out, err = f(append([]any(nil), args...)...)
	case func(string) (string, error):
		var s string
		ok := len(args) == 1
		if ok {
			s, ok = args[0].(string)
		}
		if !ok {
			return nil, fmt.Errorf("%s() needs one text", name)
		}
		out, err = f(s)
	case nil:
		return nil, fmt.Errorf("%s() is not available here", name)
	default:
		return nil, fmt.Errorf("%s is not a function", name)
	}
	if err != nil {
		return nil, err
	}
	return out, r.take(size(out))
}

// span is the list a..b.
func (r *run) span(a, b int) (any, error) {
	if b < a {
		return []any{}, nil
	}
	n := b - a + 1
	if n <= 0 || n > listBudget {
		return nil, fmt.Errorf("%d..%d is too long a list", a, b)
	}
	if err := r.take(24 * n); err != nil {
		return nil, err
	}
	out := make([]any, n)
	for i := range out {
		out[i] = a + i
	}
	return out, nil
}

func (r *run) in(needle, in any) (any, error) {
	switch in := in.(type) {
	case nil:
		return false, nil
	case map[string]any:
		k, ok := needle.(string)
		if !ok {
			return false, nil
		}
		_, ok = in[k]
		return ok, nil
	case string:
		s, ok := needle.(string)
		if !ok {
			return nil, fmt.Errorf("in a text only text can be, got %s", describe(needle))
		}
		return strings.Contains(in, s), r.pay(len(in) + len(s))
	}
	v := reflect.ValueOf(in)
	if v.Kind() != reflect.Slice && v.Kind() != reflect.Array {
		return nil, fmt.Errorf("in needs a list, a map or text on its right, got %s", describe(in))
	}
	for i := range v.Len() {
		if eq, err := r.equal(needle, v.Index(i).Interface()); eq || err != nil {
			return eq, err
		}
	}
	return false, nil
}

func (r *run) matches(a, b any) (any, error) {
	s, expression, err := texts("matches", a, b)
	if err != nil || a == nil || b == nil {
		return false, err
	}
	p, ok := r.regexps[expression]
	if !ok {
		if len(expression) > patternLimit {
			return nil, fmt.Errorf("a regular expression that is made here may have %d bytes at most", patternLimit)
		}
		if err := r.pay(20_000 + 5_000*len(expression)); err != nil {
			return nil, err
		}
		if p, err = compilePattern(expression); err != nil {
			return nil, err
		}
		if err := r.take(800 * p.size); err != nil {
			return nil, err
		}
	}
	if err := r.pay(product(len(s)+1, 2*p.size)); err != nil {
		return nil, err
	}
	return p.MatchString(s), nil
}
