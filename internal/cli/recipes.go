package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/sbxrun/sbxrun/pkg/executor"
	"github.com/sbxrun/sbxrun/pkg/plan"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// expand turns an argument into paths of recipes, sorted: a file is itself, a folder its *.yaml and *.yml, a glob what it
// matches, without hidden names and what runs wrote.
func expand(arg string) ([]string, error) {
	if arg != "" && !slices.Contains(strings.Split(arg, "/"), "..") { // before which there may be a link
		arg = filepath.Clean(arg)
	}
	info, err := os.Stat(arg)
	switch {
	case err == nil && info.IsDir():
		entries, err := os.ReadDir(arg)
		if err != nil {
			return nil, usagef("cannot read the folder %s: %v", arg, errors.Unwrap(err))
		}
		var found []string
		for _, e := range entries {
			if !e.IsDir() && isRecipeName(e.Name()) && !strings.HasPrefix(e.Name(), ".") {
				found = append(found, filepath.Join(arg, e.Name()))
			}
		}
		if len(found) == 0 {
			return nil, usagef("no recipe (*.yaml, *.yml) is in the folder %s", arg)
		}
		return found, nil
	case err == nil:
		return []string{arg}, nil
	case strings.ContainsAny(arg, "*?[{"):
		found, err := doublestar.FilepathGlob(arg, doublestar.WithFilesOnly(), doublestar.WithNoHidden())
		if err != nil {
			return nil, usagef("%q is not a valid glob: %v", arg, err)
		}
		found = slices.DeleteFunc(found, inRun)
		if len(found) == 0 {
			return nil, usagef("no file matches %s", arg)
		}
		slices.Sort(found)
		return found, nil
	case errors.Is(err, os.ErrNotExist):
		return nil, usagef("no such recipe: %s", arg)
	default:
		return nil, usagef("cannot read the recipe: %v", err)
	}
}

// inRun says whether a run wrote what is at path, which is code that is not trusted.
func inRun(path string) bool {
	for dir := filepath.Dir(path); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if name := filepath.Base(dir); slices.Contains(runNames, name) || leftName.MatchString(name) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(dir), eventsFile)); err == nil {
				return true
			}
		}
	}
	return false
}

// load reads all recipes, each once and in the order of the arguments, and returns every mistake of the arguments and of
// what they name.
func load(args []string) (recipes []*recipe.Recipe, bad []error) {
	seen := map[string]bool{}
	for _, arg := range args {
		paths, err := expand(arg)
		if err != nil {
			bad = append(bad, err)
		}
		for _, path := range paths {
			if seen[path] {
				continue
			}
			seen[path] = true
			r, err := recipe.Load(path)
			if err != nil {
				bad = append(bad, err)
				continue
			}
			recipes = append(recipes, r)
		}
	}
	return recipes, bad
}

// sameNames are the mistakes of recipes whose names others have: results are kept by name.
func sameNames(recipes []*recipe.Recipe) (bad []error) {
	named := map[string]string{}
	for _, r := range recipes {
		if other, taken := named[r.Name]; taken {
			bad = append(bad, fmt.Errorf("%s: the name %q is that of %s too; names of recipes are unique in a run", r.Path, r.Name, other))
		}
		named[r.Name] = r.Path
	}
	return bad
}

// mistakes is the error of a command line in which these are wrong; nil for none.
func mistakes(bad []error) error {
	if len(bad) == 0 {
		return nil
	}
	return &badRecipes{bad}
}

// distinct says which recipes have names that are alike once secrets are masked: results are kept by these.
func distinct(plans []*plan.Plan) error {
	named := map[string]string{}
	for _, p := range plans {
		name := executor.ShownName(p)
		if other, taken := named[name]; taken {
			return usagef("the names of the recipes %s and %s are alike once secrets are masked, both %s: give one another name",
				other, p.Recipe.Path, name)
		}
		named[name] = p.Recipe.Path
	}
	return nil
}

// badRecipes is every mistake of the recipes of one command line, and of how it names them: nothing was started.
type badRecipes struct{ errs []error }

func (e *badRecipes) Error() string   { return errors.Join(e.errs...).Error() }
func (e *badRecipes) Unwrap() []error { return e.errs }
