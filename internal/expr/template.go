package expr

// Template is text with expressions in it.
type Template struct{ source string }

// Parse reads text with ${{ }}; "$${{" is a literal "${{". The error is an *Error.
func Parse(src string, scope *Scope) (*Template, error) { return &Template{source: src}, nil }

// Literal is a template of text as it is, whatever is in it.
func Literal(s string) *Template { return &Template{source: s} }

// Source returns the text that was parsed.
func (t *Template) Source() string { return t.source }

// MarshalText gives the source.
func (t *Template) MarshalText() ([]byte, error) { return []byte(t.source), nil }

// IsLiteral says whether t has no expressions.
func (t *Template) IsLiteral() bool { return true }

// Uses says whether an expression of t uses a name; see Expr.Uses.
func (t *Template) Uses(root string, path ...string) bool { return false }

// Text interpolates.
func (t *Template) Text(env Env) (string, error) { return "", nil }

// Words is Text as one word, but a lone ${{ }} whose value is a list gives a word for each element.
func (t *Template) Words(env Env) ([]string, error) { return nil, nil }
