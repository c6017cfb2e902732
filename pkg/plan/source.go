package plan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// source is where rows come from, before they are multiplied by the matrix.
type source interface {
	// rows calls f for each row and returns its first error.
	rows(ctx context.Context, f func(row) error) error
	// digest is of the data; it is asked for after rows has come to its end.
	digest() string
}

// newSource opens what cases names. A recipe without cases has no source.
func (p *Plan) newSource() (source, error) {
	cases := p.Recipe.Cases
	if cases == nil {
		return oneRow{}, nil
	}
	at := place{p.Recipe.Path, cases.Pos}
	given := 0
	for _, is := range []bool{len(cases.List) > 0, cases.Glob != nil, cases.File != nil} {
		if is {
			given++
		}
	}
	env := expr.Env{"vars": p.Vars}
	switch {
	case given > 1:
		return nil, at.errorf("cases takes one of list, glob and file")
	case cases.Glob != nil:
		pattern, err := cases.Glob.Text(env)
		if err != nil {
			return nil, at.errorf("cases.glob: %w", err)
		}
		return newGlob(p.Recipe.Dir, pattern, at)
	case cases.File != nil:
		name, err := cases.File.Text(env)
		if err != nil {
			return nil, at.errorf("cases.file: %w", err)
		}
		return newDataFile(p.Recipe.Dir, name, at)
	case len(cases.List) > 0:
		return listRows{p.Recipe}, nil
	case len(cases.Matrix) > 0:
		return oneRow{at}, nil
	}
	return listRows{p.Recipe}, nil
}

// oneRow is what a matrix by itself multiplies.
type oneRow struct{ at place }

func (o oneRow) rows(_ context.Context, f func(row) error) error { return f(row{at: o.at}) }
func (oneRow) digest() string                                    { return "" }

// listRows are cases.list. The recipe's digest covers them.
type listRows struct{ recipe *recipe.Recipe }

func (l listRows) rows(_ context.Context, f func(row) error) error {
	for i, r := range l.recipe.Cases.List {
		at := place{l.recipe.Path, r.Pos}
		fields, ok := expr.Normalize(r.Fields).(map[string]any)
		if !ok || !finite(fields) {
			return at.errorf("a number of the row is not finite")
		}
		id, err := ownID(fields, number(i+1))
		if err != nil {
			return at.errorf("%w", err)
		}
		if err := f(row{fields: fields, id: id, at: at}); err != nil {
			return err
		}
	}
	return nil
}

func (listRows) digest() string { return "" }

// globRows are files beside the recipe, sorted by their path.
type globRows struct {
	paths []string // slash-separated, relative to the recipe unless the pattern is absolute
	at    place
}

// newGlob finds files, or folders where the pattern ends in a slash.
func newGlob(dir, pattern string, at place) (source, error) {
	folders := strings.HasSuffix(pattern, "/")
	pattern = path.Clean(pattern)
	base, rest := doublestar.SplitPattern(pattern)
	root := filepath.FromSlash(base)
	if !filepath.IsAbs(root) {
		root = filepath.Join(dir, root)
	}
	g := &globRows{at: at}
	fsys := os.DirFS(root)
	err := doublestar.GlobWalk(fsys, rest, func(name string, d fs.DirEntry) error {
		isDir := d.IsDir()
		if d.Type()&fs.ModeSymlink != 0 {
			info, err := fs.Stat(fsys, name)
			if err != nil {
				return nil // a symlink to nothing is neither
			}
			isDir = info.IsDir()
		}
		if isDir == folders && name != "." {
			g.paths = append(g.paths, path.Join(base, name))
		}
		return nil
	}, doublestar.WithFailOnIOErrors())
	switch {
	case errors.Is(err, doublestar.ErrBadPattern):
		return nil, at.errorf("cases.glob: %q is no valid pattern", pattern)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, at.errorf("cases.glob: %w", err)
	}
	slices.Sort(g.paths)
	g.paths = slices.Compact(g.paths)
	return g, nil
}

func (g *globRows) rows(_ context.Context, f func(row) error) error {
	for _, p := range g.paths {
		name := path.Base(p)
		stem := strings.TrimSuffix(name, path.Ext(name))
		if stem == "" { // .profile has no extension
			stem = name
		}
		r := row{fields: map[string]any{"path": p, "name": name, "stem": stem}, id: p, at: g.at}
		if err := f(r); err != nil {
			return err
		}
	}
	return nil
}

func (g *globRows) digest() string {
	h := sha256.New()
	for _, p := range g.paths {
		fmt.Fprintf(h, "%d %s\n", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// discard reads r to its end.
func discard(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}
