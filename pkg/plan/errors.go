package plan

import (
	"errors"
	"fmt"

	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// ErrNoCases is wrapped by the error of Build when no case is left to run. An empty shard is no error.
var ErrNoCases = errors.New("no case is left to run")

// Error is a mistake in what the plan is made from: the command line, the recipe, a data file. Nothing was started.
type Error struct {
	File    string     // the recipe or a data file; empty: the command line
	Pos     recipe.Pos // zero: not known; a column of 0: the line as a whole
	Message string
	Err     error // what it wraps, or nil
}

// Error is file:line:column: message, as far as the place is known.
func (e *Error) Error() string {
	if e.File == "" {
		return e.Message
	}
	return place{e.File, e.Pos}.String() + ": " + e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// place is where something was read, for errors about it.
type place struct {
	file string
	pos  recipe.Pos
}

// String is file:line:column, as far as it is known.
func (p place) String() string {
	switch {
	case p.pos.Line == 0:
		return p.file
	case p.pos.Column == 0:
		return fmt.Sprintf("%s:%d", p.file, p.pos.Line)
	}
	return p.file + ":" + p.pos.String()
}

func (p place) errorf(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Error{File: p.file, Pos: p.pos, Message: err.Error(), Err: errors.Unwrap(err)}
}
