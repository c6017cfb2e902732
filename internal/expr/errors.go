package expr

import (
	"fmt"
	"strings"
)

// Error is a mistake in the source of an expression, a template or a value.
type Error struct {
	// Offset is where in the source, in bytes. For a Value it is in the text that Path leads to.
	Offset int
	// Path leads to the text within a Value: keys and indexes (from 0), outermost first.
	Path    []any
	Message string
	// More are further mistakes in the same source.
	More []*Error
}

// All is e, and More.
func (e *Error) All() []*Error { return append([]*Error{e}, e.More...) }

func (e *Error) Error() string { return e.Message }

// EvalError is an expression that cannot be evaluated with the values it was given.
type EvalError struct {
	Source  string // of the expression
	Offset  int    // in Source, in bytes
	Message string
	Err     error // what a function of the Env returned, or nil
}

func (e *EvalError) Error() string {
	return fmt.Sprintf("%s: %s", strings.TrimSpace(e.Source), e.Message)
}
func (e *EvalError) Unwrap() error { return e.Err }
