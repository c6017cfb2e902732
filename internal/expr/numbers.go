package expr

import (
	"cmp"
	"fmt"
	"math/bits"
	"reflect"

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
			x, y := reflect.ValueOf(a[0]), reflect.ValueOf(a[1])
			if (isWide(a[0]) || isWide(a[1])) && x.IsValid() && y.IsValid() && isNumber(x) && isNumber(y) {
				return op.holds(compareNumbers(x, y)), nil
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
	add("negate", func(_ *run, a []any) (any, error) { return runtime.Negate(narrow(a[0])), nil })
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

// compareNumbers compares whole numbers exactly and others as float64.
func compareNumbers(x, y reflect.Value) int {
	switch {
	case x.CanInt() && y.CanInt():
		return cmp.Compare(x.Int(), y.Int())
	case x.CanUint() && y.CanUint():
		return cmp.Compare(x.Uint(), y.Uint())
	case x.CanInt() && y.CanUint():
		if x.Int() < 0 {
			return -1
		}
		return cmp.Compare(uint64(x.Int()), y.Uint())
	case x.CanUint() && y.CanInt():
		return -compareNumbers(y, x)
	}
	return cmp.Compare(float(x), float(y))
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
