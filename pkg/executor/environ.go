package executor

import (
	"fmt"
	"maps"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// environ is the environment of one step: what the recipe and the sandbox say, and on top what the step does.
type environ struct {
	vars  map[string]string // not to be changed: it may be shared
	names func() expr.Env   // of expressions in the step's other fields: they see vars as env
}

// environments makes environments. Those of recipe and sandbox that are the same for every case are made once.
type environments struct {
	recipe  *recipe.Recipe
	fixed   []map[string]string // by sandbox; nil where it has expressions
	secrets map[string]any
}

func newEnvironments(r *recipe.Recipe, secrets map[string]string) (*environments, error) {
	e := &environments{recipe: r, fixed: make([]map[string]string, len(r.Sandboxes)), secrets: toAny(secrets)}
	for i, s := range r.Sandboxes {
		if !literalEnv(r.Env) || !literalEnv(s.Env) {
			continue
		}
		vars, err := e.outer(i, nil)
		if err != nil {
			return nil, err
		}
		e.fixed[i] = vars
	}
	return e, nil
}

// outer returns the environment of a sandbox: the recipe's variables, and those of the sandbox over them.
func (e *environments) outer(box int, names func() expr.Env) (map[string]string, error) {
	vars := make(map[string]string, len(e.recipe.Env)+len(e.recipe.Sandboxes[box].Env))
	for _, list := range [][]recipe.EnvVar{e.recipe.Env, e.recipe.Sandboxes[box].Env} {
		if err := addVars(vars, list, names); err != nil {
			return nil, err
		}
	}
	return vars, nil
}

// step returns the environment of a step in a sandbox.
func (e *environments) step(s *step, names func() expr.Env) (environ, error) {
	outer := e.fixed[s.box]
	if outer == nil {
		var err error
		if outer, err = e.outer(s.box, func() expr.Env { return with(names(), "env", map[string]any{}) }); err != nil {
			return environ{}, err
		}
	}
	vars := outer
	if len(s.Env) > 0 {
		vars = maps.Clone(outer)
		err := addVars(vars, s.Env, func() expr.Env {
			return with(with(names(), "env", toAny(outer)), "secrets", e.secrets)
		})
		if err != nil {
			return environ{}, err
		}
	}
	return environ{vars: vars, names: func() expr.Env { return with(names(), "env", toAny(vars)) }}, nil
}

func addVars(vars map[string]string, list []recipe.EnvVar, names func() expr.Env) error {
	for _, v := range list {
		value, err := text(v.Value, names)
		if err != nil {
			return fmt.Errorf("env.%s: %w", v.Name, err)
		}
		vars[v.Name] = value
	}
	return nil
}
