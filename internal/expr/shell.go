package expr

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// place is what a value may be where it stands in a script.
type place int

const (
	nowhere   place = iota // a quoted word would not stand for itself here
	oneWord                // beside other text, or where the shell takes one word
	manyWords              // a word of its own, where the shell takes any number
	asIs                   // raw()
	comment                // not interpolated: a newline would end the comment
)

// dialects are tried in this order; the first that can read the script decides what stands where.
var dialects = []syntax.LangVariant{syntax.LangBash, syntax.LangPOSIX, syntax.LangMirBSDKorn, syntax.LangZsh}

// ParseShell reads a script for a shell of the Bourne family with ${{ }}. A value inside quotes, a here-document or
// another place where a quoted word would not stand for itself is an error, unless it is raw(). So is a value in a
// script that cannot be read as shell. Values in comments are not interpolated. The error is an *Error.
func ParseShell(src string, scope *Scope) (*Template, error) { return parseShell(src, scope, false) }

// ParsePOSIX is ParseShell for a shell that may know no more than POSIX had until 2024, such as dash: there $'it\'s' ends at
// its second quote. Such a quote is an error in a script that has values.
func ParsePOSIX(src string, scope *Scope) (*Template, error) { return parseShell(src, scope, true) }

func parseShell(src string, scope *Scope, posix bool) (*Template, error) {
	t, err := Parse(src, scope)
	if err != nil {
		return nil, err
	}
	needed := false
	for i, p := range t.parts {
		if p.expr != nil && p.expr.raw {
			t.parts[i].place = asIs
		}
		needed = needed || p.expr != nil && !p.expr.raw
	}
	if !needed {
		return t, nil
	}
	s := newScript(t)
	s.posix = posix
	var first error
	for _, dialect := range dialects {
		err := s.read(dialect)
		if err == nil {
			return t, nil
		}
		if perr, ok := errors.AsType[*Error](err); ok {
			return nil, perr
		}
		if first == nil {
			first = err
		}
	}
	return nil, s.unreadable(first)
}

// ParseRaw reads a script for another kind of program than a Bourne shell: every value must be raw().
func ParseRaw(src string, scope *Scope) (*Template, error) {
	t, err := Parse(src, scope)
	if err != nil {
		return nil, err
	}
	for i, p := range t.parts {
		if p.expr == nil {
			continue
		}
		if !p.expr.raw {
			return nil, &Error{Offset: p.at, Message: "how to quote a value for this shell is not known: pass it by env, or write raw() to put it in as it is"}
		}
		t.parts[i].place = asIs
	}
	return t, nil
}

// script is a template with a quoted word in the place of each value: what the shell will see, but for the words.
type script struct {
	t       *Template
	posix   bool // see ParsePOSIX
	text    string
	marks   map[string]int // part by the text of its word
	offsets []int          // in text, of each part
}

func newScript(t *Template) *script {
	s := &script{t: t, marks: map[string]int{}}
	unique := "sbxrun"
	for strings.Contains(t.source, unique) {
		unique += "x"
	}
	var b strings.Builder
	for i, p := range t.parts {
		s.offsets = append(s.offsets, b.Len())
		if p.expr == nil {
			b.WriteString(p.text)
			continue
		}
		mark := fmt.Sprintf("%s%dz", unique, i)
		if p.expr.raw {
			b.WriteString(mark)
			continue
		}
		s.marks[mark] = i
		b.WriteString("'" + mark + "'")
	}
	s.text = b.String()
	return s
}

// read finds the place of every value. The error is an *Error for a value in a wrong place, the parser's otherwise.
func (s *script) read(dialect syntax.LangVariant) error {
	file, err := syntax.NewParser(syntax.Variant(dialect), syntax.KeepComments(true)).Parse(strings.NewReader(s.text), "")
	if err != nil {
		return err
	}
	places := map[int]place{}
	reasons := map[int]string{}
	var above []syntax.Node
	var foreign syntax.Node // the first quote that a shell without $'...' ends elsewhere
	syntax.Walk(file, func(n syntax.Node) bool {
		if n == nil {
			above = above[:len(above)-1]
			return true
		}
		if foreign == nil && s.posix && dollarQuoted(n) {
			foreign = n
		}
		switch n := n.(type) {
		case *syntax.SglQuoted:
			if i, ok := s.marks[n.Value]; ok && !n.Dollar {
				places[i], reasons[i] = where(above)
			}
		case *syntax.Comment:
			for mark, i := range s.marks {
				if strings.Contains(n.Text, mark) {
					places[i] = comment
				}
			}
		case *syntax.Lit:
			for mark, i := range s.marks {
				if strings.Contains(n.Value, mark) {
					reasons[i] = literal(above)
				}
			}
		}
		above = append(above, n)
		return true
	})
	if foreign != nil {
		return &Error{Offset: s.sourceOffset(int(foreign.Pos().Offset())), Message: "a sh that does not know $'...' ends this quote elsewhere, " +
			"so the values of the script cannot be quoted safely: set shell: bash, pass them by env, or write raw()"}
	}
	for i, p := range s.t.parts {
		if p.expr == nil || p.expr.raw {
			continue
		}
		if places[i] == nowhere {
			reason := reasons[i]
			if reason == "" {
				reason = "here"
			}
			return &Error{Offset: p.at, Message: fmt.Sprintf(
				"a value %s cannot be quoted safely: pass it by env, or write raw() to put it in as it is", reason)}
		}
	}
	for i, place := range places {
		s.t.parts[i].place = place
	}
	return nil
}

// dollarQuoted says whether n is text in $'...' that ends elsewhere where that is a dollar and '...', or the delimiter of a
// here-document that would be another.
func dollarQuoted(n syntax.Node) bool {
	switch n := n.(type) {
	case *syntax.SglQuoted:
		return n.Dollar && strings.Contains(n.Value, `\'`)
	case *syntax.Redirect:
		return n.Hdoc != nil && slices.ContainsFunc(n.Word.Parts, func(p syntax.WordPart) bool {
			switch p := p.(type) {
			case *syntax.SglQuoted:
				return p.Dollar
			case *syntax.DblQuoted:
				return p.Dollar
			}
			return false
		})
	}
	return false
}

// end is where in the source the "}}" of a value ends.
func (s *script) end(p part) int { return p.at + len(open) + len(p.expr.source) + len(closing) }

// where says what a quoted word may be, from the nodes above it, and for nowhere also why.
func where(above []syntax.Node) (place, string) {
	for i, n := range above {
		switch n := n.(type) {
		case *syntax.CmdSubst:
			if n.Backquotes {
				return nowhere, "inside backquotes (write $(...))"
			}
		case *syntax.Redirect:
			if n.Hdoc != nil && i+1 < len(above) {
				return nowhere, "inside a here-document"
			}
		}
	}
	if len(above) < 2 {
		return nowhere, ""
	}
	word, ok := above[len(above)-1].(*syntax.Word)
	if !ok {
		return nowhere, "inside quotes"
	}
	many := oneWord
	if len(word.Parts) == 1 {
		many = manyWords
	}
	switch n := above[len(above)-2].(type) {
	case *syntax.CallExpr, *syntax.WordIter:
		return many, ""
	case *syntax.ArrayElem:
		if n.Value == word {
			return many, ""
		}
		return nowhere, "in an index"
	case *syntax.Assign:
		if n.Value == word {
			return oneWord, ""
		}
		return nowhere, "in an index"
	case *syntax.Redirect, *syntax.CaseClause, *syntax.CaseItem, *syntax.TestClause, *syntax.BinaryTest, *syntax.UnaryTest, *syntax.ParenTest:
		return oneWord, ""
	case *syntax.ParamExp:
		return nowhere, "inside ${...}"
	case *syntax.ArithmExp, *syntax.ArithmCmd, *syntax.BinaryArithm, *syntax.UnaryArithm, *syntax.ParenArithm, *syntax.LetClause, *syntax.CStyleLoop:
		return nowhere, "in arithmetic"
	}
	return nowhere, ""
}

// literal says where a value stands whose quotes are not quotes to the shell.
func literal(above []syntax.Node) string {
	for _, a := range slices.Backward(above) {
		switch n := a.(type) {
		case *syntax.DblQuoted:
			return "inside quotes"
		case *syntax.Redirect:
			if n.Hdoc != nil {
				return "inside a here-document"
			}
		case *syntax.ArithmExp, *syntax.ArithmCmd:
			return "in arithmetic"
		case *syntax.ParamExp:
			return "inside ${...}"
		}
	}
	return "inside quotes, or after a backslash,"
}

// unreadable is the error for a script that has values and that no dialect can read.
func (s *script) unreadable(err error) *Error {
	message, at := err.Error(), 0
	var perr syntax.ParseError
	var lerr syntax.LangError
	switch {
	case errors.As(err, &perr):
		message, at = perr.Text, int(perr.Pos.Offset())
	case errors.As(err, &lerr):
		message, at = lerr.Feature, int(lerr.Pos.Offset())
	}
	return &Error{Offset: s.sourceOffset(at), Message: fmt.Sprintf(
		"the script cannot be read as shell (%s), so its values cannot be quoted safely: pass them by env, or write raw()", message)}
}

// sourceOffset turns an offset in the script into one in the template's source, as near as escapes allow.
func (s *script) sourceOffset(at int) int {
	source := 0
	for i, p := range s.t.parts {
		next := len(s.text)
		if i+1 < len(s.offsets) {
			next = s.offsets[i+1]
		}
		if p.expr != nil {
			source = p.at
		}
		if at < next || i == len(s.t.parts)-1 {
			if p.expr == nil {
				source += at - s.offsets[i]
			}
			break
		}
		if p.expr != nil {
			source = s.end(p)
		} else {
			source += len(p.text) + strings.Count(p.text, open)
		}
	}
	return min(source, len(s.t.source))
}
