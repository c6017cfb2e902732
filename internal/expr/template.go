package expr

import (
	"errors"
	"fmt"
	"strings"
)

// The signs around an expression in text, and what stands for the first of them as text.
const (
	open    = "${{"
	closing = "}}"
	escape  = "$${{"
)

// Template is text with expressions in it. It is safe for concurrent use.
type Template struct {
	source string
	parts  []part
}

// part is a piece of text, or an expression.
type part struct {
	text  string
	expr  *Expr
	at    int // where the "${{" stands in the source
	place place
}

// Parse reads text with ${{ }}; "$${{" is a literal "${{". The error is an *Error.
func Parse(src string, scope *Scope) (*Template, error) {
	t := &Template{source: src}
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 {
			t.parts = append(t.parts, part{text: b.String()})
			b.Reset()
		}
	}
	for i := 0; i < len(src); {
		next := strings.IndexByte(src[i:], '$')
		if next < 0 {
			b.WriteString(src[i:])
			break
		}
		b.WriteString(src[i : i+next])
		i += next
		switch rest := src[i:]; {
		case strings.HasPrefix(rest, escape):
			b.WriteString(open)
			i += len(escape)
		case strings.HasPrefix(rest, open):
			n, ok := scan(rest[len(open):])
			if !ok {
				return nil, &Error{Offset: i, Message: `"${{" without "}}" (for the text itself write "$${{")`}
			}
			start := i + len(open)
			e, err := Compile(src[start:start+n], scope)
			if err != nil {
				if own, ok := errors.AsType[*Error](err); ok {
					for _, m := range own.All() {
						m.Offset += start
					}
				}
				return nil, err
			}
			flush()
			t.parts = append(t.parts, part{expr: e, at: i})
			i = start + n + len(closing)
		default:
			b.WriteByte('$')
			i++
		}
	}
	flush()
	return t, nil
}

// scan finds the "}}" that ends an expression: not one in quotes, nor one that closes braces of the expression.
func scan(s string) (int, bool) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"', '\'', '`':
			end := i + 1
			for end < len(s) && s[end] != c {
				if s[end] == '\\' && c != '`' {
					end++
				}
				end++
			}
			if end >= len(s) {
				// Not closed: the expression ends at the next "}}", and its compilation says what is wrong.
				n := strings.Index(s[i:], closing)
				return i + n, n >= 0
			}
			i = end
		case '{':
			depth++
		case '}':
			if depth == 0 {
				if strings.HasPrefix(s[i:], closing) {
					return i, true
				}
				continue
			}
			depth--
		}
	}
	return 0, false
}

// Literal is a template of text as it is, whatever is in it.
func Literal(s string) *Template {
	t := &Template{source: strings.ReplaceAll(s, open, escape)}
	if s != "" {
		t.parts = []part{{text: s}}
	}
	return t
}

// Source returns the text that was parsed.
func (t *Template) Source() string { return t.source }

// MarshalText gives the source.
func (t *Template) MarshalText() ([]byte, error) { return []byte(t.source), nil }

// IsLiteral says whether t has no expressions.
func (t *Template) IsLiteral() bool {
	for _, p := range t.parts {
		if p.expr != nil {
			return false
		}
	}
	return true
}

// Uses says whether an expression of t uses a name; see Expr.Uses.
func (t *Template) Uses(root string, path ...string) bool { return t.Find(root, path...) >= 0 }

// Find returns where in the source an expression of t first uses a name, in bytes, or -1; see Expr.Find.
func (t *Template) Find(root string, path ...string) int {
	for _, p := range t.parts {
		if p.expr == nil {
			continue
		}
		if at := p.expr.Find(root, path...); at >= 0 {
			return p.at + len(open) + at
		}
	}
	return -1
}

// Fields returns the fields of root that expressions of t need; see Expr.Fields.
func (t *Template) Fields(root string) []Field {
	var out []Field
	for _, p := range t.parts {
		if p.expr == nil {
			continue
		}
		for _, f := range p.expr.Fields(root) {
			out = append(out, Field{f.Name, p.at + len(open) + f.Offset})
		}
	}
	return out
}

// lone is the expression that is all of t, or nil.
func (t *Template) lone() *Expr {
	if len(t.parts) == 1 {
		return t.parts[0].expr
	}
	return nil
}

// textLimit is the most bytes that interpolation makes.
const textLimit = memoryBudget

// Text interpolates. The error is an *EvalError.
func (t *Template) Text(env Env) (string, error) { return t.TextFunc(env, nil) }

// TextFunc interpolates what f makes of the text of each expression; nil leaves it as it is.
func (t *Template) TextFunc(env Env, f func(string) string) (string, error) {
	if len(t.parts) == 1 && t.parts[0].expr == nil {
		return t.parts[0].text, nil
	}
	var b strings.Builder
	for _, p := range t.parts {
		s := p.text
		if p.expr != nil {
			v, r, err := p.expr.eval(env)
			if err == nil {
				if s, err = r.text(v); err != nil {
					err = p.expr.evalError(err)
				}
			}
			if err != nil {
				return "", err
			}
			if f != nil {
				s = f(s)
			}
		}
		if b.Len()+len(s) > textLimit {
			return "", &EvalError{Source: t.source, Message: fmt.Sprintf("the text is longer than %d MiB", textLimit>>20)}
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

// Words is Text as one word, but a lone ${{ }} whose value is a list gives a word for each element.
func (t *Template) Words(env Env) ([]string, error) {
	e := t.lone()
	if e == nil {
		s, err := t.Text(env)
		return []string{s}, err
	}
	v, r, err := e.eval(env)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	words := make([]string, len(list))
	for i, w := range list {
		if words[i], err = r.text(w); err != nil {
			return nil, e.evalError(err)
		}
	}
	return words, nil
}
