// Package expr is the expression language of recipes: bare expressions (conditions, captures, gates) and text with
// ${{ }} in it. It compiles with expr-lang/expr, checks names against a Scope before anything runs, bounds every
// evaluation in time and memory, and quotes values for shells. It knows nothing of recipes: which names exist where
// is told by the caller.
package expr

import "fmt"

// Pos is a place in a file: line and column count from 1, the column in characters. The zero Pos is unknown.
type Pos struct {
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
}

func (p Pos) String() string { return fmt.Sprintf("%d:%d", p.Line, p.Column) }

// Env is what an expression is evaluated over: case, vars, env, secrets, steps, sandbox, run and, where the scope has
// them, exit, stdout, stderr, duration. Functions (file in that and capture, those of gates) are of type
// func(string) (string, error) or func(...any) (any, error). Values are what Normalize returns, and Lazy below roots
// and maps.
type Env map[string]any

// Lazy is a value that is only made when an expression needs it, such as the text of a long output. It is called at
// most once in an evaluation.
type Lazy func() (any, error)
