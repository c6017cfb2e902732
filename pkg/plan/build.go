package plan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// Build makes the plan. Data files are read through once, so that a mistake in their last line is found before anything
// starts. The error is an *Error, or several joined; only a cancelled context gives another.
func Build(ctx context.Context, r *recipe.Recipe, opts Options) (*Plan, error) {
	p := &Plan{Recipe: r, Pool: pool(r.Pool, opts), origin: opts.Origin}
	var errs [3]error
	p.choice, errs[0] = newChoice(opts)
	p.Vars, errs[1] = vars(r, opts.Set)
	p.Secrets, errs[2] = secrets(r, opts.LookupEnv)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	sandboxes, err := p.sandboxes()
	if err := errors.Join(p.missing(), err); err != nil {
		return nil, err
	}
	if p.source, err = p.newSource(); err != nil {
		return nil, err
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
		return nil, err
	}
	if d, ok := p.source.(*dataFile); ok {
		if err := d.fields.check(r); err != nil {
			return nil, err
		}
	}
	if err := p.duplicates(ctx, &ids); err != nil {
		return nil, err
	}
	if before == 0 {
		return nil, p.noCases(ids.n)
	}
	p.Total = p.Cases * max(1, r.Samples)
	p.Digest, err = p.digest()
	return p, err
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
