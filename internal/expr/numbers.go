package expr

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"
	"reflect"
	"slices"

	"github.com/expr-lang/expr/vm/runtime"
)

// The library takes a uint64, which is a whole number that no int holds, for an int: its order and its sums would be wrong.

// addNumbers adds the operators of numbers.
func addNumbers(add func(name string, f func(r *run, args []any) (any, error))) {
	for sign, op := range map[string]struct {
		library func(a, b any) bool
		holds   func(order int) bool
	}{
		"<":  {runtime.Less, func(order int) bool { return order < 0 }},
		"<=": {runtime.LessOrEqual, func(order int) bool { return order <= 0 }},
		">":  {runtime.More, func(order int) bool { return order > 0 }},
		">=": {runtime.MoreOrEqual, func(order int) bool { return order >= 0 }},
	} {
		add(sign, func(r *run, a []any) (any, error) {
			if err := r.pay(min(size(a[0]), size(a[1]))); err != nil {
				return nil, err
			}
			if isWide(a[0]) || isWide(a[1]) {
				x, y := reflect.ValueOf(a[0]), reflect.ValueOf(a[1])
				if x.IsValid() && y.IsValid() && isNumber(x) && isNumber(y) {
					order, ordered := compareNumbers(x, y)
					return ordered && op.holds(order), nil
				}
			}
			return op.library(a[0], a[1]), nil
		})
	}
	for sign, op := range map[string]struct {
		library func(a, b any) any
		whole   func(a, b int) (result int, ok bool)
	}{
		"+": {runtime.Add, func(a, b int) (int, bool) { return a + b, (a+b > a) == (b > 0) }},
		"-": {runtime.Subtract, func(a, b int) (int, bool) { return a - b, (a-b < a) == (b > 0) }},
		"*": {runtime.Multiply, product64},
	} {
		add(sign, func(r *run, a []any) (any, error) {
			if s, ok := a[0].(string); ok && sign == "+" {
				if t, ok := a[1].(string); ok {
					return s + t, r.take(len(s) + len(t))
				}
			}
			x, isInt := a[0].(int)
			if y, ok := a[1].(int); ok && isInt {
				result, fits := op.whole(x, y)
				if !fits {
					return nil, fmt.Errorf("%d %s %d is beyond the whole numbers of 64 bits: multiply one of them by 1.0 for a number with a fraction", x, sign, y)
				}
				return result, nil
			}
			return op.library(narrow(a[0]), narrow(a[1])), nil
		})
	}
	add("%", func(_ *run, a []any) (any, error) {
		if isWide(a[0]) || isWide(a[1]) {
			return nil, fmt.Errorf("%v %% %v: the remainder is there for whole numbers up to %d", a[0], a[1], math.MaxInt)
		}
		return runtime.Modulo(a[0], a[1]), nil
	})
	add("negate", func(_ *run, a []any) (any, error) {
		if n, ok := a[0].(int); ok && n == math.MinInt {
			return -float64(n), nil
		}
		return runtime.Negate(narrow(a[0])), nil
	})
}

// numeric are functions of the library that reckon with their arguments, or with the elements of a list that is one.
var numeric = map[string]bool{
	"abs": true, "ceil": true, "floor": true, "round": true, "int": true, "float": true, "max": true, "min": true, "mean": true,
	"median": true, "sort": true,
}

// narrowed are arguments that the library can reckon with.
func narrowed(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		out[i] = narrow(a)
		if list, ok := a.([]any); ok && slices.ContainsFunc(list, isWide) {
			out[i] = narrowed(list)
		}
	}
	return out
}

// fitsInt sees to it that int() is given what has a whole number, of which the library would make a wrong one.
func fitsInt(_ *run, args []any) error {
	if f, ok := narrow(args[0]).(float64); ok && (f >= math.MaxInt || f < math.MinInt || f != f) {
		return fmt.Errorf("%v is beyond the whole numbers of 64 bits", args[0])
	}
	return nil
}

func product64(a, b int) (int, bool) {
	high, low := bits.Mul64(magnitude(a), magnitude(b))
	limit := uint64(1)<<63 - 1
	if (a < 0) != (b < 0) {
		limit++
	}
	return a * b, high == 0 && low <= limit
}

func magnitude(n int) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

func isWide(v any) bool {
	_, wide := v.(uint64)
	return wide
}

// narrow makes a number of what no int holds that the library can reckon with.
func narrow(v any) any {
	if n, wide := v.(uint64); wide {
		return float64(n)
	}
	return v
}

// compareNumbers compares whole numbers exactly and others as float64, of which one that is no number has no order.
func compareNumbers(x, y reflect.Value) (order int, ordered bool) {
	switch {
	case x.CanInt() && y.CanInt():
		return cmp.Compare(x.Int(), y.Int()), true
	case x.CanUint() && y.CanUint():
		return cmp.Compare(x.Uint(), y.Uint()), true
	case x.CanInt() && y.CanUint():
		if x.Int() < 0 {
			return -1, true
		}
		return cmp.Compare(uint64(x.Int()), y.Uint()), true
	case x.CanUint() && y.CanInt():
		order, _ := compareNumbers(y, x)
		return -order, true
	}
	f, g := float(x), float(y)
	return cmp.Compare(f, g), f == f && g == g
}

func float(v reflect.Value) float64 {
	switch {
	case v.CanInt():
		return float64(v.Int())
	case v.CanUint():
		return float64(v.Uint())
	}
	return v.Float()
}
