package expr

import (
	"errors"
	"reflect"
)

// The budgets of one evaluation. Work is counted in units of about a nanosecond, and before it is done: the virtual
// machine cannot be interrupted. What is counted does not depend on the machine, so neither does what fails.
const (
	memoryBudget = 256 << 20 // bytes made, not bytes held
	listBudget   = 8 << 20   // elements of list and map literals, filter and map
	sourceLimit  = 16 << 10  // bytes of one expression
	nodeLimit    = 5_000     // nodes of one expression
	callWork     = 60        // one call of an operation
	depthLimit   = 10_000    // levels of a value that is walked, as encoding/json has it
)

var workBudget = 2_000_000_000 // a variable for tests, which would take minutes

var (
	errWork   = errors.New("the expression takes too long: it does more than an evaluation may")
	errMemory = errors.New("the expression makes more than 256 MiB of data")
	errDeep   = errors.New("a value is nested deeper than 10000 levels")
)

// meter counts what one evaluation costs.
type meter struct {
	work   int
	memory int
}

// pay counts units of work.
func (m *meter) pay(units int) error {
	if units < 0 || units > workBudget {
		return errWork
	}
	if m.work += units; m.work > workBudget {
		return errWork
	}
	return nil
}

// take counts bytes that are about to be made, and the work of making them.
func (m *meter) take(bytes int) error {
	if bytes < 0 || bytes > memoryBudget {
		return errMemory
	}
	if m.memory += bytes; m.memory > memoryBudget {
		return errMemory
	}
	return m.pay(bytes / 4)
}

// product is a*b, or too much for any budget where that overflows.
func product(a, b int) int {
	if a < 0 || b < 0 || (a > 0 && b > memoryBudget*16/a) {
		return -1
	}
	return a * b
}

// size is what it costs to look at v's outside: the length of a text, or of a list.
func size(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []any:
		return len(v)
	case map[string]any:
		return len(v)
	case nil, bool, int, float64:
		return 1
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.String, reflect.Slice, reflect.Array, reflect.Map:
		return r.Len()
	}
	return 1
}

// deep walks v, which may hold one list many times over, and returns the bytes that its text would have, about. The
// walk itself is paid for, so it ends.
func (m *meter) deep(v any) (int, error) { return m.walk(v, 0, 0) }

// walk is deep for a value at a level of another, where each line of its text has perLevel bytes more for every level.
func (m *meter) walk(v any, level, perLevel int) (int, error) {
	if level > depthLimit {
		return 0, errDeep
	}
	if err := m.pay(20); err != nil {
		return 0, err
	}
	total := 8 + level*perLevel // the line that ends it
	add := func(v any) error {
		n, err := m.walk(v, level+1, perLevel)
		total += n + (level+1)*perLevel
		return err
	}
	switch v := v.(type) {
	case string:
		return 2*len(v) + 2, nil
	case []any:
		for _, e := range v {
			if err := add(e); err != nil {
				return 0, err
			}
		}
		return total, nil
	case map[string]any:
		for k, e := range v {
			total += 2*len(k) + 4
			if err := add(e); err != nil {
				return 0, err
			}
		}
		return total, nil
	case nil, bool, int, float64:
		return 24, nil
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.String:
		return 2*r.Len() + 2, nil
	case reflect.Slice, reflect.Array:
		for i := range r.Len() {
			if err := add(r.Index(i).Interface()); err != nil {
				return 0, err
			}
		}
	case reflect.Map:
		for it := r.MapRange(); it.Next(); {
			if err := add(it.Key().Interface()); err != nil {
				return 0, err
			}
			if err := add(it.Value().Interface()); err != nil {
				return 0, err
			}
		}
	default:
		return 40, nil
	}
	return total, nil
}
