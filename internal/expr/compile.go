package expr

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// Expr is a compiled expression. It is safe for concurrent use.
type Expr struct {
	source  string // as it was given
	inner   string // without a surrounding ${{ }}
	shift   int    // where inner starts in source
	program *vm.Program
	uses    []use
	regexps map[string]pattern
	raw     bool // the whole is a call of raw()
}

// Compile compiles a bare expression; a ${{ }} around it is accepted. The error is an *Error.
func Compile(src string, scope *Scope) (*Expr, error) {
	e, _, err := compile(src, scope)
	return e, err
}

// CompileCondition is Compile for what must be true or false: a result that is known to be something else is an error.
func CompileCondition(src string, scope *Scope) (*Expr, error) {
	e, t, err := compile(src, scope)
	if err != nil {
		return nil, err
	}
	if t != nil && t.Kind() != reflect.Interface && t.Kind() != reflect.Bool {
		return nil, &Error{Offset: e.shift, Message: fmt.Sprintf("a condition must be true or false, this is %s", typeName(t.String()))}
	}
	return e, nil
}

func compile(src string, scope *Scope) (e *Expr, t reflect.Type, err error) {
	e = &Expr{source: src}
	e.inner, e.shift = unwrap(src)
	defer func() {
		if r := recover(); r != nil { // the library panics on some malformed input
			e, t, err = nil, nil, &Error{Offset: 0, Message: fmt.Sprintf("the expression cannot be compiled: %v", r)}
		}
	}()
	fail := func(err error) (*Expr, reflect.Type, error) {
		return nil, nil, e.compileError(err)
	}
	switch {
	case strings.TrimSpace(e.inner) == "":
		return nil, nil, &Error{Offset: e.shift, Message: "the expression is empty"}
	case len(e.inner) > sourceLimit:
		return nil, nil, &Error{Offset: e.shift, Message: fmt.Sprintf("the expression is longer than %d KiB", sourceLimit>>10)}
	}

	config := typing(scope)
	tree, err := parser.ParseWithConfig(e.inner, config)
	if err != nil {
		return fail(err)
	}
	// The parser shares nodes ("a ?: b", "a < b < c"), so that a short source can be a huge tree.
	if !smaller(tree.Node, nodeLimit) {
		return nil, nil, &Error{Offset: e.shift, Message: "the expression is too complex"}
	}
	names := &resolver{scope: scope, lets: map[string]bool{}}
	if names.check(tree.Node); len(names.mistakes) > 0 {
		first := e.compileError(names.mistakes[0])
		for _, m := range names.mistakes[1:] {
			first.More = append(first.More, e.compileError(m))
		}
		return nil, nil, first
	}
	e.uses = names.uses
	if t, err = new(checker.Checker).Check(tree, config); err != nil {
		return fail(err)
	}
	if call, ok := tree.Node.(*ast.CallNode); ok {
		if id, ok := call.Callee.(*ast.IdentifierNode); ok {
			e.raw = id.Value == "raw"
		}
	}

	r := &rewriter{scope: scope, lets: map[string]bool{}, regexps: map[string]pattern{}}
	if tree.Node, err = r.rewrite(tree.Node); err != nil {
		return fail(err)
	}
	e.regexps = r.regexps
	if e.program, err = compiler.Compile(tree, &conf.Config{Functions: operations, ShortCircuit: true}); err != nil {
		return fail(err)
	}
	return e, t, nil
}

// typing is the configuration that types are checked with, before the tree is rewritten.
func typing(scope *Scope) *conf.Config {
	c := conf.CreateNew()
	c.Optimize = false
	c.MaxNodes = nodeLimit
	c.WithEnv(scope.nature())
	for name, f := range functions {
		c.Functions[name] = f.declaration(name)
	}
	return c
}

// unwrap removes a ${{ }} around src and returns where the rest starts.
func unwrap(src string) (string, int) {
	lead := len(src) - len(strings.TrimLeft(src, " \t\r\n"))
	s := strings.TrimSpace(src)
	if !strings.HasPrefix(s, open) {
		return src, 0
	}
	if end, ok := scan(s[len(open):]); !ok || len(open)+end+len(closing) != len(s) {
		return src, 0
	}
	return s[len(open) : len(s)-len(closing)], lead + len(open)
}

// compileError turns what the library says into an Error with an offset in the source.
func (e *Expr) compileError(err error) *Error {
	if own, ok := errors.AsType[*Error](err); ok {
		return own
	}
	if ferr, ok := errors.AsType[*file.Error](err); ok {
		message := ferr.Message
		switch {
		case strings.HasPrefix(message, "unexpected token EOF"):
			message = "the expression ends too early"
		case strings.HasPrefix(message, "unexpected token"):
			message = unexpected(message)
		}
		if strings.Contains(e.inner, open) {
			message += ` (this is an expression already, names stand in it without "${{")`
		}
		return &Error{Offset: e.offset(ferr.From), Message: typeName(message)}
	}
	return &Error{Offset: e.shift, Message: typeName(err.Error())}
}

// unexpected makes `unexpected token Operator("=")` readable.
func unexpected(message string) string {
	_, rest, ok := strings.Cut(message, "(")
	if !ok {
		return message
	}
	token := strings.TrimSuffix(rest, ")")
	if token == `"="` {
		return `unexpected "=": to compare, write "=="`
	}
	return "unexpected " + token
}

// offset turns the library's position, in characters of inner, into bytes of source.
func (e *Expr) offset(characters int) int {
	for i := range e.inner {
		if characters == 0 {
			return e.shift + i
		}
		characters--
	}
	return e.shift + len(e.inner)
}

// typeNames are Go's names of types in the library's messages, and ours.
var typeNames = strings.NewReplacer(
	"map[string]interface {}", "a map", "[]interface {}", "a list", "interface {}", "a value", "map[string]any", "a map",
	"[]any", "a list", "<nil>", "null", "float64", "number", "[]string", "a list", "[]int", "a list")

func typeName(message string) string { return typeNames.Replace(message) }

// smaller says whether the tree has fewer nodes than limit, shared ones counted each time.
func smaller(node ast.Node, limit int) bool {
	c := &counter{left: limit}
	c.count(node)
	return c.left > 0
}

// counter walks a tree until it has seen enough.
type counter struct{ left int }

func (c *counter) count(node ast.Node) {
	if c.left--; c.left <= 0 || node == nil {
		return
	}
	for _, n := range children(node) {
		c.count(n)
	}
}

// Source returns the text that was compiled.
func (e *Expr) Source() string { return e.source }

// MarshalText gives the source.
func (e *Expr) MarshalText() ([]byte, error) { return []byte(e.source), nil }
