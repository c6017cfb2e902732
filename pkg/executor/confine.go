package executor

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// origins knows who decides what a text of the recipe comes to, also through the environment that its expressions see.
type origins struct {
	recipe *recipe.Recipe
	envs   [][]recipe.EnvVar // the innermost first
}

// of says whether rows of a data file have a say in t, and whether steps have.
func (o origins) of(t *expr.Template) (rows, steps bool) {
	rows = o.recipe.Cases != nil && o.recipe.Cases.File != nil && t.Uses("case")
	steps = t.Uses("steps")
	hidden := map[string]bool{}
	for i, vars := range o.envs {
		outer := origins{o.recipe, o.envs[i+1:]}
		for _, v := range vars {
			if !hidden[v.Name] && t.Uses("env", v.Name) {
				byRows, bySteps := outer.of(v.Value)
				rows, steps = rows || byRows, steps || bySteps
			}
			hidden[v.Name] = true
		}
	}
	return rows, steps
}

// bounds is the folder that a path beside the recipe stays in where a row of a data file or the code under test chose it: the
// one that the recipe itself names, up to the first expression. Or else they could have any file of the host staged
// and shown. What the recipe, its lists and --set say is free.
type bounds struct {
	folder string // empty: free
	steps  bool
}

func (o origins) bounds(t *expr.Template) bounds {
	rows, steps := o.of(t)
	if !rows && !steps {
		return bounds{}
	}
	fixed, _, _ := strings.Cut(t.Source(), "${{")
	if i := strings.IndexAny(fixed, `*?[{\`); i >= 0 { // of a glob, the folder that all it matches is in
		fixed = fixed[:i]
	}
	return bounds{beside(o.recipe.Dir, fixed[:strings.LastIndexByte(fixed, '/')+1]), steps}
}

// check refuses a file that lies outside, or is a link to one; name is what it was asked for by.
func (b bounds) check(name, full string) error {
	switch {
	case b.folder == "" || inside(b.folder, full) && inside(resolved(b.folder), resolved(full)):
		return nil
	case b.steps:
		return unfit("%q, which a step chose, leads out of the folder %s", name, b.folder)
	}
	return fmt.Errorf("%q, which a row of data chose, leads out of the folder %s: name the folder in the recipe, before the expression", name, b.folder)
}

// blame makes of an error one of the code under test where a step had a say in the path t and the path is what is wrong: what
// that code causes is never an error of the infrastructure, which is not scored.
func (o origins) blame(t *expr.Template, err error) error {
	if err == nil || t == nil || !isOfPath(err) {
		return err
	}
	if _, steps := o.of(t); !steps {
		return err
	}
	return unfit("%v", err)
}

// isOfPath says whether an error of reading a file beside the recipe is due to what its path is.
func isOfPath(err error) bool {
	if errors.Is(err, errNoFile) || errors.Is(err, doublestar.ErrBadPattern) {
		return true
	}
	if _, ok := errors.AsType[*missingError](err); ok {
		return true
	}
	errno, _ := errors.AsType[syscall.Errno](err)
	switch errno {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.EISDIR, syscall.ENAMETOOLONG, syscall.ELOOP, syscall.EACCES, syscall.EPERM, syscall.EINVAL, syscall.ENXIO:
		return true
	}
	return false
}

// mayBeGolden says whether the file at full may be a golden file, by who has a say in its name. With --update it is written: no
// step then chooses among the recipe's own files.
func (o origins) mayBeGolden(t *expr.Template, full string, update bool) error {
	b := o.bounds(t)
	name, err := filepath.Rel(o.recipe.Dir, full)
	if err != nil {
		return err
	}
	if b.steps && update && b.folder == filepath.Clean(o.recipe.Dir) {
		return fmt.Errorf("%q has a name that a step chose: name its folder in the recipe, before the expression", name)
	}
	return b.check(name, full)
}

func inside(folder, full string) bool {
	rel, err := filepath.Rel(folder, full)
	return err == nil && filepath.IsLocal(rel)
}

// resolved follows the symbolic links of the part of a path that exists.
func resolved(full string) string {
	rest := ""
	for at := filepath.Clean(full); ; at = filepath.Dir(at) {
		real, err := filepath.EvalSymlinks(at)
		if err == nil {
			return filepath.Join(real, rest)
		}
		if at == filepath.Dir(at) {
			return full
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}
