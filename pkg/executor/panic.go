package executor

import (
	"fmt"
	"runtime/debug"
)

// panicError is a panic that was recovered: a defect of sbxrun or of a provider. The sample it hit ends as
// error/internal, its sandboxes are taken down, and the rest of the run goes on.
type panicError struct {
	value any
	stack []byte
}

func asPanic(v any) error { return &panicError{value: v, stack: debug.Stack()} }

func (e *panicError) Error() string {
	return fmt.Sprintf("panic: %v\nThis is a defect of sbxrun; please report it with these lines.\n%s", e.value, e.stack)
}
