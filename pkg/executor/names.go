package executor

import (
	"fmt"
	"maps"
	"sync"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// names makes what expressions of one try of a sample see. Most samples of a recipe without expressions never ask.
type names struct {
	base   func() expr.Env // case, vars, run
	layout *layout

	mu    sync.Mutex
	hosts func() map[string]any // sandbox.NAME
	steps []seenStep            // those that ended
	env   expr.Env              // made of the above; nil: to be made
}

// seenStep is a step that later ones can see.
type seenStep struct {
	id     string
	fields func() map[string]any
}

// get returns the names now. The map is not to be changed.
func (n *names) get() expr.Env {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.env != nil {
		return n.env
	}
	steps := make(map[string]any, len(n.layout.all))
	for _, s := range n.layout.all {
		if steps[s.ID] == nil {
			steps[s.ID] = unknownStep(s.Step)
		}
	}
	seen := make(map[string]bool, len(n.steps))
	for _, s := range n.steps {
		if seen[s.id] { // named, it is an error before anything runs; steps[x] is known only now
			steps[s.id] = expr.Lazy(func() (any, error) {
				return nil, fmt.Errorf("steps.%s is ambiguous: several steps have this id; give one of them another", s.id)
			})
			continue
		}
		seen[s.id] = true
		steps[s.id] = s.fields()
	}
	env := maps.Clone(n.base())
	if env == nil {
		env = expr.Env{}
	}
	env["steps"] = steps
	if n.hosts != nil {
		env["sandbox"] = n.hosts()
	}
	n.env = env
	return env
}

// unknownStep is what is seen of a step that has not run (yet).
func unknownStep(s *recipe.Step) map[string]any {
	m := map[string]any{"verdict": string(event.NotRun), "exit": nil, "stdout": nil, "stderr": nil, "duration": nil}
	for _, c := range s.Capture {
		m[c.Name] = nil
	}
	return m
}

// add lets later expressions see a step.
func (n *names) add(id string, fields func() map[string]any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.steps, n.env = append(n.steps, seenStep{id, fields}), nil
}

// setHosts says which sandboxes can be reached, and how.
func (n *names) setHosts(hosts func() map[string]any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts, n.env = hosts, nil
}

// with returns the names and one more.
func with(env expr.Env, name string, value any) expr.Env {
	c := make(expr.Env, len(env)+1)
	maps.Copy(c, env)
	c[name] = value
	return c
}

// toAny makes a map that expressions can index.
func toAny(m map[string]string) map[string]any {
	c := make(map[string]any, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}
