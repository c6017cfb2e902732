package plan

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strconv"
	"strings"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// errStop ends reading early.
var errStop = errors.New("stop")

// Rows streams the cases to run, in the order of the data. It may be called again. An error ends the sequence: a data
// file that cannot be read or was changed since Build.
func (p *Plan) Rows(ctx context.Context) iter.Seq2[Case, error] {
	return func(yield func(Case, error) bool) {
		err := p.each(ctx, false, func(c Case, _ place) error {
			if p.choice.matches(c.ID) && p.choice.inShard(hashID(c.ID)) && !yield(c, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(Case{}, err)
		}
	}
}

// each calls f for every case of the recipe: rows multiplied by the matrix, for which where holds, up to the limit.
// With all set the source is read to its end even when the limit is reached.
func (p *Plan) each(ctx context.Context, all bool, f func(Case, place) error) error {
	cases := p.Recipe.Cases
	if cases == nil {
		return f(Case{ID: "main", Number: 1}, place{file: p.Recipe.Path})
	}
	number, kept := 0, 0
	err := p.source.rows(ctx, func(r row) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return multiply(cases.Matrix, r, func(r row) error {
			number++
			if p.limit > 0 && kept == p.limit {
				if all {
					return nil
				}
				return errStop
			}
			c := Case{Number: number, Fields: r.fields}
			ok, err := p.keep(c, r.at)
			if err != nil || !ok {
				return err
			}
			kept++
			if c.ID, err = p.id(r, c); err != nil {
				return err
			}
			return f(c, r.at)
		})
	})
	if errors.Is(err, errStop) && p.limit > 0 && kept == p.limit {
		return nil
	}
	return err
}

// row is one row of a source, before the matrix.
type row struct {
	fields map[string]any
	id     string // its own id, its path or its number; empty: the matrix's values are the id
	axes   []axisValue
	at     place
}

type axisValue struct{ name, text string }

// multiply calls f for r with every combination of the axes' values, the last axis first.
func multiply(axes []recipe.Axis, r row, f func(row) error) error {
	if len(axes) == 0 {
		return f(r)
	}
	for _, a := range axes {
		if len(a.Values) == 0 {
			return nil
		}
		if _, ok := r.fields[a.Name]; ok {
			return r.at.errorf("the row has a field %q, and so has cases.matrix", a.Name)
		}
	}
	at := make([]int, len(axes))
	for {
		m := row{fields: maps.Clone(r.fields), id: r.id, at: r.at, axes: make([]axisValue, len(axes))}
		if m.fields == nil {
			m.fields = make(map[string]any, len(axes))
		}
		for i, a := range axes {
			v := expr.Normalize(a.Values[at[i]])
			text, err := expr.TextOf(v)
			if err != nil {
				return r.at.errorf("cases.matrix.%s: %w", a.Name, err)
			}
			m.fields[a.Name], m.axes[i] = v, axisValue{a.Name, text}
		}
		if err := f(m); err != nil {
			return err
		}
		i := len(axes) - 1
		for ; i >= 0; i-- {
			if at[i]++; at[i] < len(axes[i].Values) {
				break
			}
			at[i] = 0
		}
		if i < 0 {
			return nil
		}
	}
}

// keep says whether where holds.
func (p *Plan) keep(c Case, at place) (bool, error) {
	where := p.Recipe.Cases.Where
	if where == nil {
		return true, nil
	}
	ok, err := where.Bool(p.rowEnv(c))
	if err != nil {
		return false, at.errorf("cases.where, row %d: %w", c.Number, err)
	}
	return ok, nil
}

func (p *Plan) rowEnv(c Case) expr.Env { return expr.Env{"case": c.Fields, "vars": p.Vars} }

// id is cases.id, else the row's own, and the values of the matrix that are not in it yet.
func (p *Plan) id(r row, c Case) (string, error) {
	id := r.id
	template := p.Recipe.Cases.ID
	if template != nil {
		var err error
		if id, err = template.Text(p.rowEnv(c)); err != nil {
			return "", r.at.errorf("cases.id, row %d: %w", c.Number, err)
		}
		if id == "" {
			return "", r.at.errorf("cases.id is empty for row %d: it is %s", c.Number, template.Source())
		}
	}
	var b strings.Builder
	b.WriteString(id)
	for _, a := range r.axes {
		if template != nil && template.Uses("case", a.name) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(a.name + "=" + a.text)
	}
	return b.String(), nil
}

// ownID is the field id of a row, else otherwise.
func ownID(fields map[string]any, otherwise string) (string, error) {
	v, ok := fields["id"]
	if !ok || v == nil {
		return otherwise, nil
	}
	id, err := expr.TextOf(v)
	if err == nil && id == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		return "", fmt.Errorf("the row's id: %w", err)
	}
	return id, nil
}

func number(n int) string { return strconv.Itoa(n) }
