package expr

// Value is a YAML value whose texts may have expressions in them.
type Value struct{ source any }

// ParseValue takes what YAML was decoded to: nil, bool, int, float64, string, []any, map[string]any. Keys of maps are
// not interpolated. The error is an *Error with Path.
func ParseValue(v any, scope *Scope) (*Value, error) { return &Value{source: v}, nil }

// LiteralValue is a value of text as it is.
func LiteralValue(v any) *Value { return &Value{source: v} }

// Source returns what was parsed.
func (v *Value) Source() any { return v.source }

// MarshalJSON gives the source.
func (v *Value) MarshalJSON() ([]byte, error) { return nil, nil }

// IsLiteral says whether v has no expressions.
func (v *Value) IsLiteral() bool { return true }

// Uses says whether an expression of v uses a name; see Expr.Uses.
func (v *Value) Uses(root string, path ...string) bool { return false }

// Eval interpolates. A text that is one ${{ }} alone becomes the expression's value with its type.
func (v *Value) Eval(env Env) (any, error) { return nil, nil }
