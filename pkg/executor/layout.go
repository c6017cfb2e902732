package executor

import (
	"slices"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// The parts of a recipe that have steps, as events name them.
const (
	partSteps   = "steps"
	partFinally = "finally"
	partVerify  = "verify"
)

// layout is what the recipe alone says: its steps in one list, and which sandboxes they need. It is made once and
// shared by all samples.
type layout struct {
	recipe  *recipe.Recipe
	all     []*step // in the order of the file: steps, finally, verify
	steps   []group
	finally []group
	verify  []group
	// Indexes into recipe.Sandboxes: those of steps, finally, collect and transfers, and those of verify.
	mainBoxes, verifyBoxes []int
	collects               [][]recipe.Collect // by sandbox
}

// group is steps that run at once: one, unless they are parallel.
type group struct {
	max   int
	steps []*step
}

// step is a step of the recipe with what is known of it before any case.
type step struct {
	*recipe.Step
	part  string
	index int // in layout.all
	box   int // index of its sandbox
	// unchecked is true where nothing is expected but exit status 0.
	unchecked bool
}

func newLayout(r *recipe.Recipe) *layout {
	l := &layout{recipe: r, collects: make([][]recipe.Collect, len(r.Sandboxes))}
	l.steps = l.groups(partSteps, r.Steps)
	l.finally = l.groups(partFinally, r.Finally)
	l.verify = l.groups(partVerify, r.Verify)

	for _, c := range r.Collect {
		i := r.SandboxIndex(c.Sandbox)
		l.collects[i] = append(l.collects[i], c)
	}
	l.mainBoxes, l.verifyBoxes = r.Held()
	return l
}

func (l *layout) groups(part string, items []recipe.Item) []group {
	var groups []group
	for i := range items {
		g := group{max: items[i].Max}
		for j := range items[i].Steps {
			s := &step{Step: &items[i].Steps[j], part: part, index: len(l.all)}
			s.box = l.recipe.SandboxIndex(s.Sandbox)
			e := &s.Expect
			s.unchecked = !e.Exit.Any && e.Exit.Values == nil && e.Stdout == nil && e.Stderr == nil && len(e.Files) == 0 && len(e.That) == 0
			l.all = append(l.all, s)
			g.steps = append(g.steps, s)
		}
		if g.max <= 0 {
			g.max = len(g.steps)
		}
		groups = append(groups, g)
	}
	return groups
}

// literalEnv says whether no value needs expressions.
func literalEnv(vars []recipe.EnvVar) bool {
	return !slices.ContainsFunc(vars, func(v recipe.EnvVar) bool { return !v.Value.IsLiteral() })
}

// text interpolates a template that may be nil. names is only called where there is something to interpolate.
func text(t *expr.Template, names func() expr.Env) (string, error) {
	switch {
	case t == nil:
		return "", nil
	case t.IsLiteral():
		return t.Text(nil)
	}
	return t.Text(names())
}

// truth is the value of what is true or false; nil is false. The error is an *expr.EvalError.
func truth(v *expr.Value, names func() expr.Env) (bool, error) {
	if v == nil {
		return false, nil
	}
	if v.IsLiteral() {
		return v.Truth(nil)
	}
	return v.Truth(names())
}
