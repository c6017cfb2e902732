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
type use struct {
	path []string
	at   int // in characters of the expression
}

// Uses says whether e uses the name root, or what path leads to below it. A use that is not known before evaluation
// (steps[x]) is one of everything below.
func (e *Expr) Uses(root string, path ...string) bool { return e.Find(root, path...) >= 0 }

// Find returns where in the source e first uses what Uses asks for, in bytes; -1: nowhere.
func (e *Expr) Find(root string, path ...string) int {
	want := append([]string{root}, path...)
	for _, u := range e.uses {
		n := min(len(u.path), len(want))
		if slices.Equal(u.path[:n], want[:n]) {
			return e.offset(u.at)
		}
	}
	return -1
}

// Field is a field of a name that an expression needs.
type Field struct {
	Name   string
	Offset int // in the source, in bytes, of the name that it is a field of
}

// Fields returns the fields of root that e needs by name, such as a and b of case.a + case.b.c. case?.a needs none.
func (e *Expr) Fields(root string) []Field {
	var out []Field
	for _, u := range e.uses {
		if len(u.path) > 1 && u.path[0] == root {
			out = append(out, Field{u.path[1], e.offset(u.at)})
		}
	}
	return out
}

// resolver finds every name that an expression uses and checks it against a scope.
type resolver struct {
	scope    *Scope
	lets     map[string]bool // names that the expression defines
	uses     []use
	mistakes []error
}

// wrong notes a mistake at a node; compileError turns its place into an offset.
func (r *resolver) wrong(node ast.Node, format string, args ...any) {
	r.mistakes = append(r.mistakes, &file.Error{Location: node.Location(), Message: fmt.Sprintf(format, args...)})
}

func (r *resolver) check(node ast.Node) {
	switch n := node.(type) {
	case nil:
		return
	case *ast.IdentifierNode:
		if !r.lets[n.Value] {
			r.path(n, nil)
		}
		return
	case *ast.MemberNode, *ast.ChainNode:
		if root, steps, rest := flatten(node); root != nil && !r.lets[root.Value] {
			for _, e := range rest {
				r.check(e)
			}
			r.path(root, steps)
			return
		}
		if m, ok := node.(*ast.MemberNode); ok && m.Method {
			r.wrong(m, "values have no methods, so .%s() cannot be called", property(m))
			return
		}
	case *ast.CallNode:
		switch callee := n.Callee.(type) {
		case *ast.IdentifierNode:
			name := r.function(callee)
			before := len(r.mistakes)
			for _, a := range n.Arguments {
				r.check(a)
			}
			if name != nil && name.check != nil && len(r.mistakes) == before {
				if why := name.check(n.Arguments); why != "" {
					r.wrong(n, "%s", why)
				}
			}
		case *ast.MemberNode:
			r.wrong(callee, "values have no methods, so .%s() cannot be called", property(callee))
		default:
			r.wrong(n, "only functions can be called")
		}
		return
	case *ast.VariableDeclaratorNode:
		r.check(n.Value)
		outer := r.lets[n.Name]
		r.lets[n.Name] = true
		r.check(n.Expr)
		r.lets[n.Name] = outer
		return
	}
	for _, c := range children(node) {
		r.check(c)
	}
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
func (r *resolver) path(root *ast.IdentifierNode, steps []member) {
	name, ok := r.root(root)
	if !ok || root.Value == "null" {
		return
	}
	used := []string{root.Value}
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
			r.wrong(s.node, "%s", r.unknownField(strings.Join(used[:len(used)-1], "."), s.name, name))
			return
		}
		if s.name == "" && len(name.Fields) == 0 {
			next = nil
		}
		name = next
	}
	r.uses = append(r.uses, use{used, root.Location().From})
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
	return message + name.hint
}

// root returns what is known of a name; a mistake if it is not known.
func (r *resolver) root(id *ast.IdentifierNode) (*Name, bool) {
	if r.scope != nil {
		if name, ok := r.scope.Names[id.Value]; ok {
			return name, true
		}
		if where := r.scope.Elsewhere[id.Value]; where != "" {
			r.wrong(id, "%s cannot be used here: %s", id.Value, where)
			return nil, false
		}
	}
	if id.Value == "null" { // as in YAML and JSON; the library's own word is nil
		return &Name{Open: true}, true
	}
	if isFunction(id.Value) {
		r.wrong(id, "%s is a function: call it as %s(...)", id.Value, id.Value)
		return nil, false
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
	r.wrong(id, "%s", message)
	return nil, false
}

// function checks the name of what is called, and returns what the scope knows of it.
func (r *resolver) function(id *ast.IdentifierNode) *Name {
	all := append(keys(functions), builtin.Names...)
	if r.scope != nil {
		if name, ok := r.scope.Names[id.Value]; ok {
			if name.Func {
				r.uses = append(r.uses, use{[]string{id.Value}, id.Location().From})
				return name
			}
			r.wrong(id, "%s is not a function", id.Value)
			return nil
		}
		if where := r.scope.Elsewhere[id.Value]; where != "" {
			r.wrong(id, "%s cannot be used here: %s", id.Value, where)
			return nil
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
	r.wrong(id, "%s", message)
	return nil
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
