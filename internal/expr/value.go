package expr

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Value is a YAML value whose texts may have expressions in them. It is safe for concurrent use.
type Value struct {
	source any
	tree   any // as source, with a *Template in the place of each text that has expressions
	texts  []*Template
}

// ParseValue takes what YAML was decoded to: nil, bool, int, float64, string, []any, map[string]any. Keys of maps are
// not interpolated. The error is an *Error with Path.
func ParseValue(v any, scope *Scope) (*Value, error) {
	out := &Value{source: v}
	var err error
	out.tree, err = out.parse(Normalize(v), scope, nil)
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (v *Value) parse(in any, scope *Scope, path []any) (any, error) {
	switch in := in.(type) {
	case string:
		t, err := Parse(in, scope)
		if err != nil {
			if own, ok := errors.AsType[*Error](err); ok {
				for _, m := range own.All() {
					m.Path = append([]any(nil), path...)
				}
			}
			return nil, err
		}
		if !t.IsLiteral() {
			v.texts = append(v.texts, t)
			return t, nil
		}
		return t.Text(nil) // "$${{" becomes "${{"
	case []any:
		out := make([]any, len(in))
		for i, e := range in {
			var err error
			if out[i], err = v.parse(e, scope, append(path, i)); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(in))
		for _, k := range keys(in) {
			var err error
			if out[k], err = v.parse(in[k], scope, append(path, k)); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return in, nil
}

// LiteralValue is a value of text as it is.
func LiteralValue(v any) *Value { return &Value{source: v, tree: Normalize(v)} }

// Source returns what was parsed.
func (v *Value) Source() any { return v.source }

// MarshalJSON gives the source.
func (v *Value) MarshalJSON() ([]byte, error) { return json.Marshal(Normalize(v.source)) }

// IsLiteral says whether v has no expressions.
func (v *Value) IsLiteral() bool { return len(v.texts) == 0 }

// Uses says whether an expression of v uses a name; see Expr.Uses.
func (v *Value) Uses(root string, path ...string) bool {
	for _, t := range v.texts {
		if t.Uses(root, path...) {
			return true
		}
	}
	return false
}

// Fields returns the fields of root that expressions of v need, each with its offset in the text that it is in; see Expr.Fields.
func (v *Value) Fields(root string) []Field {
	var out []Field
	for _, t := range v.texts {
		out = append(out, t.Fields(root)...)
	}
	return out
}

// Eval interpolates. A text that is one ${{ }} alone becomes the expression's value with its type. What it returns must
// not be changed. The error is an *EvalError.
func (v *Value) Eval(env Env) (any, error) {
	if v.IsLiteral() {
		return v.tree, nil
	}
	return fill(v.tree, env)
}

func fill(in any, env Env) (any, error) {
	var err error
	switch in := in.(type) {
	case *Template:
		if e := in.lone(); e != nil {
			return e.Eval(env)
		}
		return in.Text(env)
	case []any:
		out := make([]any, len(in))
		for i, e := range in {
			if out[i], err = fill(e, env); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(in))
		for k, e := range in {
			if out[k], err = fill(e, env); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return in, nil
}

// Truth evaluates to true or false, also of text; see TruthOf. The error is an *EvalError.
func (v *Value) Truth(env Env) (bool, error) {
	x, err := v.Eval(env)
	if err != nil {
		return false, err
	}
	is, err := TruthOf(x)
	if err != nil {
		return false, &EvalError{Source: fmt.Sprint(v.source), Message: err.Error()}
	}
	return is, nil
}
