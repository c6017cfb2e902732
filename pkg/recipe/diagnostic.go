package recipe

import (
	"cmp"
	"slices"
	"strings"
)

// Diagnostic is one mistake in a recipe. The zero Pos means the file as a whole.
type Diagnostic struct {
	File string // as it was given
	Pos
	Message string // lower case, one line
}

// String is file:line:column: message.
func (d Diagnostic) String() string {
	if d.Pos == (Pos{}) {
		return d.File + ": " + d.Message
	}
	return d.File + ":" + d.Pos.String() + ": " + d.Message
}

// Diagnostics are all the mistakes in a recipe, in the order of the file, each once.
type Diagnostics []Diagnostic

// Error is one line for each mistake.
func (d Diagnostics) Error() string {
	lines := make([]string, len(d))
	for i := range d {
		lines[i] = d[i].String()
	}
	return strings.Join(lines, "\n")
}

// sorted puts d in order and drops what is said twice, as of a step that two aliases use.
func (d Diagnostics) sorted() Diagnostics {
	slices.SortStableFunc(d, func(a, b Diagnostic) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(d)
}
