package expr

import (
	"reflect"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/file"
)

// Every operation whose cost depends on its operands is rewritten into a call of one of ours (operations.go), with the
// evaluation as its first argument, which counts the cost before the work. The library's virtual machine runs what is
// left: control flow, loops and arithmetic.

// rewriter makes the tree that is run from the tree that was checked. It makes new nodes: the parser shares some.
type rewriter struct {
	scope   *Scope
	lets    map[string]bool
	regexps map[string]pattern
	err     error
}

func (r *rewriter) rewrite(node ast.Node) (ast.Node, error) {
	out := r.node(node)
	return out, r.err
}

// call makes a call of an operation, at the place of the node that it replaces.
func call(at ast.Node, operation string, args ...ast.Node) ast.Node {
	callee := &ast.IdentifierNode{Value: operation}
	callee.SetType(reflect.TypeFor[func(...any) (any, error)]())
	n := &ast.CallNode{Callee: callee, Arguments: append([]ast.Node{&ast.IdentifierNode{Value: "$env"}}, args...)}
	n.SetLocation(at.Location())
	return n
}

func integer(i int) ast.Node {
	n := &ast.IntegerNode{Value: i}
	n.SetType(reflect.TypeFor[int]())
	return n
}

func text(s string) ast.Node { return &ast.StringNode{Value: s} }

func (r *rewriter) nodes(in []ast.Node) []ast.Node {
	out := make([]ast.Node, len(in))
	for i, n := range in {
		out[i] = r.node(n)
	}
	return out
}

func (r *rewriter) node(node ast.Node) ast.Node {
	var out ast.Node
	switch n := node.(type) {
	case nil:
		return nil
	case *ast.NilNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.StringNode, *ast.PointerNode:
		return node
	case *ast.BytesNode:
		out = text(string(n.Value))
	case *ast.IdentifierNode:
		switch {
		case r.lets[n.Value]:
			return n
		case n.Value == "null":
			out = &ast.NilNode{}
		default:
			return call(n, "name", text(n.Value))
		}
	case *ast.UnaryNode:
		operand := r.node(n.Node)
		if n.Operator == "-" && !isNumeral(operand) {
			return call(n, "negate", operand)
		}
		out = &ast.UnaryNode{Operator: n.Operator, Node: operand}
	case *ast.BinaryNode:
		left, right := r.node(n.Left), r.node(n.Right)
		if n.Operator == "matches" {
			r.regexp(n.Right)
		}
		if _, ok := operations[n.Operator]; ok {
			return call(n, n.Operator, left, right)
		}
		out = &ast.BinaryNode{Operator: n.Operator, Left: left, Right: right}
	case *ast.ChainNode:
		return call(n, "chain", r.node(n.Node))
	case *ast.MemberNode:
		operation := "fetch"
		if n.Optional {
			operation = "fetch?"
		}
		return call(n, operation, r.node(n.Node), r.node(n.Property))
	case *ast.SliceNode:
		return call(n, "slice", r.node(n.Node), r.bound(n.From), r.bound(n.To))
	case *ast.CallNode:
		id := n.Callee.(*ast.IdentifierNode) // checked by resolver
		if r.scope.isFunc(id.Value) {
			return call(n, "invoke", append([]ast.Node{text(id.Value)}, r.nodes(n.Arguments)...)...)
		}
		return call(n, "function "+id.Value, r.nodes(n.Arguments)...)
	case *ast.BuiltinNode:
		return r.builtin(n)
	case *ast.PredicateNode:
		out = &ast.PredicateNode{Node: call(n, "tick", integer(weigh(n)), r.node(n.Node))}
	case *ast.VariableDeclaratorNode:
		value := r.node(n.Value)
		r.lets[n.Name] = true // the checker refuses a second one of the name inside
		out = &ast.VariableDeclaratorNode{Name: n.Name, Value: value, Expr: r.node(n.Expr)}
		delete(r.lets, n.Name)
	case *ast.SequenceNode:
		out = &ast.SequenceNode{Nodes: r.nodes(n.Nodes)}
	case *ast.ConditionalNode:
		out = &ast.ConditionalNode{Ternary: n.Ternary, Cond: r.node(n.Cond), Exp1: r.node(n.Exp1), Exp2: r.node(n.Exp2)}
	case *ast.ArrayNode:
		out = &ast.ArrayNode{Nodes: r.nodes(n.Nodes)}
	case *ast.MapNode:
		out = &ast.MapNode{Pairs: r.nodes(n.Pairs)}
	case *ast.PairNode:
		out = &ast.PairNode{Key: r.node(n.Key), Value: r.node(n.Value)}
	default:
		if r.err == nil {
			r.err = &file.Error{Location: node.Location(), Message: "this is not supported in expressions"}
		}
		return node
	}
	out.SetLocation(node.Location())
	return out
}

func (r *rewriter) bound(n ast.Node) ast.Node {
	if n == nil {
		return &ast.NilNode{}
	}
	return r.node(n)
}

// builtin keeps the loops of the library, with what they go over paid for at once and their bodies at each turn; its
// functions become ours.
func (r *rewriter) builtin(n *ast.BuiltinNode) ast.Node {
	args := r.nodes(n.Arguments)
	if i, ok := builtin.Index[n.Name]; !ok || !builtin.Builtins[i].Predicate {
		return call(n, "function "+n.Name, args...)
	}
	args[0] = call(n, "list", text(n.Name), args[0])
	out := &ast.BuiltinNode{Name: n.Name, Arguments: args}
	out.SetLocation(n.Location())
	return out
}

// regexp compiles a constant pattern ahead. A bad one was reported when types were checked.
func (r *rewriter) regexp(n ast.Node) {
	if s, ok := n.(*ast.StringNode); ok {
		if p, err := compilePattern(s.Value); err == nil {
			r.regexps[s.Value] = p
		}
	}
}

// weigh is the work of one turn of a loop.
func weigh(n ast.Node) int {
	c := &counter{left: nodeLimit}
	c.count(n)
	return (nodeLimit - c.left) * callWork
}

// children are the nodes directly below a node.
func children(node ast.Node) []ast.Node {
	switch n := node.(type) {
	case *ast.UnaryNode:
		return []ast.Node{n.Node}
	case *ast.BinaryNode:
		return []ast.Node{n.Left, n.Right}
	case *ast.ChainNode:
		return []ast.Node{n.Node}
	case *ast.MemberNode:
		return []ast.Node{n.Node, n.Property}
	case *ast.SliceNode:
		return []ast.Node{n.Node, n.From, n.To}
	case *ast.CallNode:
		return append([]ast.Node{n.Callee}, n.Arguments...)
	case *ast.BuiltinNode:
		return n.Arguments
	case *ast.PredicateNode:
		return []ast.Node{n.Node}
	case *ast.VariableDeclaratorNode:
		return []ast.Node{n.Value, n.Expr}
	case *ast.SequenceNode:
		return n.Nodes
	case *ast.ConditionalNode:
		return []ast.Node{n.Cond, n.Exp1, n.Exp2}
	case *ast.ArrayNode:
		return n.Nodes
	case *ast.MapNode:
		return n.Pairs
	case *ast.PairNode:
		return []ast.Node{n.Key, n.Value}
	}
	return nil
}

func isNumeral(n ast.Node) bool {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		return true
	}
	return false
}
