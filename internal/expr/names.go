package expr

import (
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/file"

	"github.com/sbxrun/sbxrun/internal/nearest"
)

// use is one use of a name: the root, then as much of the path below it as is written in the source.
type use []string

// Uses says whether e uses the name root, or what path leads to below it. A use that is not known before evaluation
// (steps[x]) is one of everything below.
func (e *Expr) Uses(root string, path ...string) bool {
	want := append([]string{root}, path...)
	for _, u := range e.uses {
		n := min(len(u), len(want))
		if slices.Equal(u[:n], want[:n]) {
			return true
		}
	}
	return false
}

// Fields returns the fields of root that e needs by name, such as a and b of case.a + case.b.c. case?.a needs none.
func (e *Expr) Fields(root string) []string {
	var out []string
	for _, u := range e.uses {
		if len(u) > 1 && u[0] == root {
			out = append(out, u[1])
		}
	}
	return out
}

// resolver finds every name that an expression uses and checks it against a scope.
type resolver struct {
	scope *Scope
	lets  map[string]bool // names that the expression defines
	uses  []use
}

func (r *resolver) check(node ast.Node) error {
	switch n := node.(type) {
	case nil:
		return nil
	case *ast.IdentifierNode:
		if r.lets[n.Value] {
			return nil
		}
		return r.path(n, nil)
	case *ast.MemberNode, *ast.ChainNode:
		if root, steps, rest := flatten(node); root != nil && !r.lets[root.Value] {
			for _, e := range rest {
				if err := r.check(e); err != nil {
					return err
				}
			}
			return r.path(root, steps)
		}
		if m, ok := node.(*ast.MemberNode); ok && m.Method {
			return at(m, "values have no methods, so .%s() cannot be called", property(m))
		}
	case *ast.CallNode:
		if id, ok := n.Callee.(*ast.IdentifierNode); ok {
			if err := r.function(id); err != nil {
				return err
			}
			for _, a := range n.Arguments {
				if err := r.check(a); err != nil {
					return err
				}
			}
			return nil
		}
		if m, ok := n.Callee.(*ast.MemberNode); ok {
			return at(m, "values have no methods, so .%s() cannot be called", property(m))
		}
		return at(n, "only functions can be called")
	case *ast.VariableDeclaratorNode:
		if err := r.check(n.Value); err != nil {
			return err
		}
		outer := r.lets[n.Name]
		r.lets[n.Name] = true
		err := r.check(n.Expr)
		r.lets[n.Name] = outer
		return err
	}
	for _, c := range children(node) {
		if err := r.check(c); err != nil {
			return err
		}
	}
	return nil
}

// member is one step of a path below a root. Name is "" where it is not known.
type member struct {
	name     string
	node     ast.Node
	optional bool
}

// flatten takes a.b["c"][x] apart: its root, the steps, and what is in brackets and must be checked by itself. The root
// is nil where the whole does not start with a name.
func flatten(node ast.Node) (root *ast.IdentifierNode, steps []member, rest []ast.Node) {
	for {
		switch n := node.(type) {
		case *ast.ChainNode:
			node = n.Node
		case *ast.IdentifierNode:
			slices.Reverse(steps)
			return n, steps, rest
		case *ast.MemberNode:
			if n.Method {
				return nil, nil, nil
			}
			if s, ok := n.Property.(*ast.StringNode); ok {
				steps = append(steps, member{s.Value, n.Property, n.Optional})
			} else {
				steps = append(steps, member{"", n.Property, n.Optional})
				rest = append(rest, n.Property)
			}
			node = n.Node
		default:
			return nil, nil, nil
		}
	}
}

// path checks root.steps and notes the use.
func (r *resolver) path(root *ast.IdentifierNode, steps []member) error {
	name, err := r.root(root)
	if err != nil || root.Value == "null" {
		return err
	}
	used := use{root.Value}
	known := true
	for _, s := range steps {
		if s.name == "" {
			known = false
		}
		if s.optional { // a?.b asks whether there is one
			known = false
		}
		if known {
			used = append(used, s.name)
		}
		if name == nil || name.Func {
			continue
		}
		next, ok := name.Fields[s.name]
		if !ok && s.name != "" && !name.Open && name.Kind == Map && !s.optional {
			return at(s.node, "%s", r.unknownField(strings.Join(used[:len(used)-1], "."), s.name, name))
		}
		if s.name == "" && len(name.Fields) == 0 {
			next = nil
		}
		name = next
	}
	r.uses = append(r.uses, used)
	return nil
}

// at is an error at a node; compileError turns its place into an offset.
func at(node ast.Node, format string, args ...any) error {
	return &file.Error{Location: node.Location(), Message: fmt.Sprintf(format, args...)}
}

func (r *resolver) unknownField(parent, field string, name *Name) string {
	if parent == "case" && len(name.Fields) == 0 {
		return fmt.Sprintf("unknown name case.%s: the recipe has no cases with fields", field)
	}
	message := fmt.Sprintf("unknown name %s.%s", parent, field)
	for _, k := range keys(name.Fields) {
		if strings.HasPrefix(k, field+"-") { // read as a subtraction
			return message + fmt.Sprintf(", did you mean %s[%q]?", parent, k)
		}
	}
	if near, ok := nearest.Nearest(field, keys(name.Fields)); ok {
		return message + fmt.Sprintf(", did you mean %s.%s?", parent, near)
	}
	if len(name.Fields) > 0 && len(name.Fields) <= 8 {
		return message + fmt.Sprintf(" (%s has %s)", parent, strings.Join(keys(name.Fields), ", "))
	}
	return message
}

func (r *resolver) root(id *ast.IdentifierNode) (*Name, error) {
	if r.scope != nil {
		if name, ok := r.scope.Names[id.Value]; ok {
			return name, nil
		}
		if where := r.scope.Elsewhere[id.Value]; where != "" {
			return nil, at(id, "%s cannot be used here: %s", id.Value, where)
		}
	}
	if id.Value == "null" { // as in YAML and JSON; the library's own word is nil
		return &Name{Open: true}, nil
	}
	if isFunction(id.Value) {
		return nil, at(id, "%s is a function: call it as %s(...)", id.Value, id.Value)
	}
	var all []string
	if r.scope != nil {
		all = keys(r.scope.Names)
	}
	for name, ok := range r.lets {
		if ok {
			all = append(all, name)
		}
	}
	message := "unknown name " + id.Value
	if near, ok := nearest.Nearest(id.Value, all); ok {
		message += fmt.Sprintf(", did you mean %s?", near)
	} else if len(all) > 0 && len(all) <= 12 {
		slices.Sort(all)
		message += fmt.Sprintf(" (known here: %s; text needs quotes)", strings.Join(all, ", "))
	}
	return nil, at(id, "%s", message)
}

func (r *resolver) function(id *ast.IdentifierNode) error {
	all := append(keys(functions), builtin.Names...)
	if r.scope != nil {
		if name, ok := r.scope.Names[id.Value]; ok {
			if name.Func {
				r.uses = append(r.uses, use{id.Value})
				return nil
			}
			return at(id, "%s is not a function", id.Value)
		}
		if where := r.scope.Elsewhere[id.Value]; where != "" {
			return at(id, "%s cannot be used here: %s", id.Value, where)
		}
		for name, n := range r.scope.Names {
			if n.Func {
				all = append(all, name)
			}
		}
	}
	if isFunction(id.Value) {
		return nil
	}
	message := fmt.Sprintf("unknown function %s()", id.Value)
	if near, ok := nearest.Nearest(id.Value, all); ok {
		message += fmt.Sprintf(", did you mean %s()?", near)
	}
	return at(id, "%s", message)
}

func isFunction(name string) bool {
	if _, ok := functions[name]; ok {
		return true
	}
	_, ok := builtin.Index[name]
	return ok
}

func property(m *ast.MemberNode) string {
	if s, ok := m.Property.(*ast.StringNode); ok {
		return s.Value
	}
	return "?"
}

func keys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
