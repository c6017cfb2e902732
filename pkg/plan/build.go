package plan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// Build makes the plan. Data files are read through once, so that a mistake in their last line is found before anything
// starts. The error is an *Error, or several joined; only a cancelled context gives another.
func Build(ctx context.Context, r *recipe.Recipe, opts Options) (*Plan, error) {
	p := &Plan{Recipe: r, Pool: pool(r.Pool, opts), origin: opts.Origin}
	var mistakes [7]error // all are told that can be found beside each other
	p.choice, mistakes[0] = newChoice(opts)
	p.Vars, mistakes[1] = vars(r, opts.Set)
	p.Secrets, mistakes[2] = secrets(r, opts.LookupEnv)
	if mistakes[0] != nil || mistakes[1] != nil {
		return nil, errors.Join(mistakes[:]...)
	}
	mistakes[6] = p.counts()
	mistakes[3] = p.missing()
	sandboxes, err := p.sandboxes()
	mistakes[4] = err
	if mistakes[5] = p.rows(ctx, sandboxes); ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := errors.Join(mistakes[:]...); err != nil {
		return nil, err
	}
	p.Total = p.Cases * p.Samples
	p.Digest, err = p.digest()
	return p, err
}

// counts evaluates what vars decide of the whole run.
func (p *Plan) counts() error {
	r, env := p.Recipe, expr.Env{"vars": p.Vars}
	count := func(key string, v *expr.Value, most int, to *int) error {
		if v == nil {
			return nil
		}
		value, err := v.Eval(env)
		if err == nil {
			*to, err = expr.CountOf(value, most)
		}
		return p.wrong(key, v, err)
	}
	p.Samples = 1
	mistakes := []error{count("samples", r.Samples, recipe.MaxSamples, &p.Samples)}
	if r.Cases != nil {
		mistakes = append(mistakes, count("cases.limit", r.Cases.Limit, recipe.MaxCases, &p.limit))
	}
	var err error
	p.Timeout, err = Duration(r.Timeout, env)
	return errors.Join(append(mistakes, p.wrong("timeout", r.Timeout, err))...)
}

// wrong gives an error of a key's value its place.
func (p *Plan) wrong(key string, v *expr.Value, err error) error {
	if err == nil {
		return nil
	}
	return place{p.Recipe.Path, p.Recipe.PosOf(v, 0, recipe.Pos{})}.errorf("%s: %w", key, err)
}

// rows opens the source of the cases and reads it through. sandboxes are those that a case decides.
func (p *Plan) rows(ctx context.Context, sandboxes []recipe.Sandbox) (err error) {
	if p.source, err = p.newSource(); err != nil {
		return err
	}
	var ids hashes
	before := 0 // cases that --case leaves, before sharding
	err = p.each(ctx, true, func(c Case, _ place) error {
		hash := hashID(c.ID)
		ids.add(hash)
		if p.choice.matches(c.ID) {
			before++
			if p.choice.inShard(hash) {
				p.Cases++
			}
			for _, sb := range sandboxes {
				if _, err := p.SandboxSpec(sb, p.rowEnv(c)); err != nil {
					return fmt.Errorf("%w (case %s)", err, c.ID)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var unknown error
	if d, ok := p.source.(*dataFile); ok {
		unknown = d.fields.check(p.Recipe)
	}
	if before == 0 && unknown == nil {
		return p.noCases(ids.n)
	}
	return errors.Join(unknown, p.duplicates(ctx, &ids))
}

func pool(p recipe.Pool, opts Options) recipe.Pool {
	for _, size := range []int{opts.Jobs, p.Size, opts.DefaultJobs, 1} {
		if size > 0 {
			p.Size = size
			return p
		}
	}
	return p
}

// noCases says why nothing is left of rows cases.
func (p *Plan) noCases(rows int) error {
	at := place{file: p.Recipe.Path}
	if p.Recipe.Cases != nil {
		at.pos = p.Recipe.Cases.Pos
	}
	switch {
	case rows > 0:
		return at.errorf("%w: --case %q matches none of %d ids", ErrNoCases, p.choice.pattern, rows)
	case p.Recipe.Cases.Glob != nil:
		return at.errorf("%w: cases.glob matches no file (folders need a / at the end of the pattern)", ErrNoCases)
	case p.Recipe.Cases.Where != nil:
		return at.errorf("%w: cases.where holds for no row", ErrNoCases)
	}
	return at.errorf("%w: cases has no rows", ErrNoCases)
}

// digest covers what decides the results: the recipe, its data and the values of its vars.
func (p *Plan) digest() (string, error) {
	values, err := json.Marshal(p.Vars)
	if err != nil {
		return "", &Error{File: p.Recipe.Path, Message: fmt.Sprintf("vars: %s", err)}
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n", p.Recipe.Digest, values, p.source.digest())
	return hex.EncodeToString(h.Sum(nil)), nil
}
