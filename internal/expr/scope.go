package expr

import (
	"maps"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/types"
)

// Kind is what is known of a value before it is there.
type Kind int

// The kinds of values.
const (
	Any Kind = iota
	Text
	Int
	Number // may have a fraction
	Bool
	List
	Map
)

// Name is what is known of a name, or of a field below one.
type Name struct {
	Kind Kind
	// Fields are the names below this one. Names that are not in it are errors unless Open is true.
	Fields map[string]*Name
	// Open says that there may be other fields, or that nothing is known of them.
	Open bool
	// Func is a function that the Env gives: func(...any) (any, error) or func(string) (string, error).
	Func bool
	// check says what is wrong with the arguments of such a function, as far as it can be seen; nil: nothing is known.
	check func(args []ast.Node) string
	// hint is what to do where a field that is not known was meant.
	hint string
}

// Scope says which names an expression may use. A nil *Scope knows no names.
type Scope struct {
	Names map[string]*Name
	// Elsewhere tells, for a name that exists in other places only, where: "secrets can only be used in env".
	Elsewhere map[string]string
}

// Known is what a recipe's names are; its methods make the scopes of the places of a recipe.
type Known struct {
	// Case holds the fields of cases; CaseOpen says that there may be others (data files).
	Case     []string
	CaseOpen bool
	Vars     []string
	// Env holds names of the environment; EnvOpen says that there may be others.
	Env       []string
	EnvOpen   bool
	Secrets   []string
	Steps     map[string][]string // captures by id of the step
	Sandboxes []string
}

// Fields makes a Name with these fields of any kind.
func Fields(open bool, names ...string) *Name {
	n := &Name{Kind: Map, Open: open, Fields: make(map[string]*Name, len(names))}
	for _, name := range names {
		n.Fields[name] = &Name{Open: true}
	}
	return n
}

// With returns a copy of s that also has these names.
func (s *Scope) With(names map[string]*Name) *Scope {
	c := &Scope{Names: map[string]*Name{}, Elsewhere: map[string]string{}}
	if s != nil {
		maps.Copy(c.Names, s.Names)
		maps.Copy(c.Elsewhere, s.Elsewhere)
	}
	for k, v := range names {
		c.Names[k] = v
		delete(c.Elsewhere, k)
	}
	return c
}

// VarsOnly is the scope of cases.glob and cases.file: vars.
func (k Known) VarsOnly() *Scope { return k.base("vars") }

// Row is the scope of cases.id and cases.where: case and vars. Sandboxes have it too.
func (k Known) Row() *Scope { return k.base("vars", "case") }

// Sample is the scope of what is known when a sample starts: case, vars, run. Files of the recipe and collect have it.
func (k Known) Sample() *Scope { return k.base("vars", "case", "run") }

// Step is the scope of a step: case, vars, run, env, steps, sandbox.
func (k Known) Step() *Scope { return k.base("vars", "case", "run", "env", "steps", "sandbox") }

// StepEnv is the scope of a value in a step's env: Step and secrets.
func (k Known) StepEnv() *Scope {
	return k.base("vars", "case", "run", "env", "steps", "sandbox", "secrets")
}

// Outcome is the scope of that and capture: Step, and exit, stdout, stderr, duration and file().
func (k Known) Outcome() *Scope {
	return k.base("vars", "case", "run", "env", "steps", "sandbox", "outcome")
}

// Gate is the scope of gates: counts and rates of the finished run.
func (k Known) Gate() *Scope {
	steps := &Name{Kind: Map, Fields: map[string]*Name{}}
	for id, captures := range k.Steps {
		steps.Fields[id] = Fields(false, captures...)
		steps.Fields[id].hint = ": gates know what steps capture, such as capture: {t: duration}"
	}
	names := map[string]*Name{"steps": steps, "mean": {Func: true, check: wrongMean}, "duration_p": {Func: true, check: wrongPercentile}}
	for _, n := range []string{"total", "passed", "failed", "errors", "flaky"} {
		names[n] = &Name{Kind: Int}
	}
	for _, n := range []string{"pass_rate", "error_rate"} {
		names[n] = &Name{Kind: Number}
	}
	return k.base().With(names)
}

func wrongMean(args []ast.Node) string {
	if len(args) == 1 {
		if root, path, _ := flatten(args[0]); root != nil && root.Value == "steps" && len(path) == 2 {
			return ""
		}
	}
	return "mean takes one capture: mean(steps.ID.NAME)"
}

func wrongPercentile(args []ast.Node) string {
	if len(args) == 1 {
		switch n := args[0].(type) {
		case *ast.IntegerNode:
			if n.Value >= 0 && n.Value <= 100 {
				return ""
			}
		case *ast.FloatNode:
			if n.Value >= 0 && n.Value <= 100 {
				return ""
			}
		case *ast.StringNode, *ast.BoolNode, *ast.NilNode:
		default: // known when it is evaluated
			return ""
		}
	}
	return "duration_p takes one percentile from 0 to 100: duration_p(95)"
}

func (k Known) base(roots ...string) *Scope {
	s := &Scope{Names: map[string]*Name{}, Elsewhere: map[string]string{
		"case":     "case can be used in steps, sandboxes, files, cases.id and cases.where",
		"vars":     "vars can be used in steps, sandboxes, files and cases",
		"env":      "env can be used in steps, but for their names",
		"secrets":  "secrets can only be used in the env of a step",
		"steps":    "steps can be used in steps, but for their names, and in gates",
		"sandbox":  "sandbox can be used in steps, but for their names",
		"run":      "run can be used in steps, files and collect",
		"exit":     "exit can be used in that and capture; elsewhere it is steps.ID.exit",
		"stdout":   "stdout can be used in that and capture; elsewhere it is steps.ID.stdout",
		"stderr":   "stderr can be used in that and capture; elsewhere it is steps.ID.stderr",
		"duration": "duration can be used in that and capture; elsewhere it is steps.ID.duration",
		"file":     "file() can be used in that and capture",
	}}
	add := func(name string, n *Name) {
		s.Names[name] = n
		delete(s.Elsewhere, name)
	}
	for _, r := range roots {
		switch r {
		case "vars":
			add("vars", Fields(false, k.Vars...))
		case "case":
			add("case", Fields(k.CaseOpen, k.Case...))
		case "env":
			add("env", Fields(k.EnvOpen, k.Env...))
		case "secrets":
			add("secrets", Fields(false, k.Secrets...))
		case "run":
			add("run", &Name{Kind: Map, Fields: map[string]*Name{"id": {Kind: Text}, "sample": {Kind: Int}}})
		case "sandbox":
			n := &Name{Kind: Map, Fields: map[string]*Name{}}
			for _, sb := range k.Sandboxes {
				n.Fields[sb] = &Name{Kind: Map, Fields: map[string]*Name{"host": {Kind: Text}}}
			}
			add("sandbox", n)
		case "steps":
			n := &Name{Kind: Map, Fields: map[string]*Name{}}
			for id, captures := range k.Steps {
				f := outcome()
				f["verdict"] = &Name{Kind: Text}
				for _, c := range captures {
					f[c] = &Name{Open: true}
				}
				n.Fields[id] = &Name{Kind: Map, Fields: f}
			}
			add("steps", n)
		case "outcome":
			for name, n := range outcome() {
				add(name, n)
			}
			add("file", &Name{Func: true})
		}
	}
	return s
}

func outcome() map[string]*Name {
	return map[string]*Name{"exit": {Kind: Int}, "stdout": {Kind: Text}, "stderr": {Kind: Text}, "duration": {Kind: Number}}
}

func (s *Scope) isFunc(name string) bool {
	if s == nil {
		return false
	}
	n := s.Names[name]
	return n != nil && n.Func
}

// nature describes s to the library's type checker. It is made anew each time, since the checker keeps things in it.
func (s *Scope) nature() types.Map {
	m := types.Map{"null": types.Any}
	if s != nil {
		for name, n := range s.Names {
			m[name] = n.typ()
		}
	}
	return m
}

func (n *Name) typ() types.Type {
	switch {
	case n == nil:
		return types.Any
	case n.Func:
		return types.TypeOf(func(...any) (any, error) { return nil, nil })
	}
	switch n.Kind {
	case Text:
		return types.String
	case Int:
		return types.Int
	case Number:
		return types.Float64
	case Bool:
		return types.Bool
	case List:
		return types.TypeOf([]any{})
	case Map:
		m := types.Map{types.Extra: types.Any} // unknown fields are the resolver's
		for name, f := range n.Fields {
			m[name] = f.typ()
		}
		return m
	}
	return types.Any
}
