package plan

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// missing finds files that are to be staged and are not there: those whose names are the same in every sample, because
// they depend on nothing but vars. The others are found when their sample is staged.
func (p *Plan) missing() error {
	r := p.Recipe
	errs := []error{p.missingFiles(r.Files)}
	for _, item := range slices.Concat(r.Steps, r.Finally, r.Verify) {
		for _, s := range item.Steps {
			errs = append(errs, p.missingFiles(s.Files), p.missingFile(s.Pos, "stdin.file", s.StdinFile))
		}
	}
	return errors.Join(errs...)
}

func (p *Plan) missingFiles(files []recipe.File) error {
	var errs []error
	for _, f := range files {
		if f.From == "" && f.Required() {
			errs = append(errs, p.missingFile(f.Pos, "src", f.Src))
		}
	}
	return errors.Join(errs...)
}

func (p *Plan) missingFile(pos recipe.Pos, key string, name *expr.Template) error {
	if name == nil || slices.ContainsFunc([]string{"case", "run", "env", "steps", "sandbox"}, func(root string) bool { return name.Uses(root) }) {
		return nil
	}
	at := place{p.Recipe.Path, pos}
	text, err := name.Text(expr.Env{"vars": p.Vars})
	if err != nil {
		return at.errorf("%s: %w", key, err)
	}
	if text == "" {
		return at.errorf("%s is empty", key)
	}
	full := p.beside(text)
	if _, err = os.Stat(full); !errors.Is(err, fs.ErrNotExist) {
		return nil // what is there and cannot be staged says so itself
	}
	if key == "src" && strings.ContainsAny(text, `*?[{\`) {
		found := false
		base, pattern := doublestar.SplitPattern(filepath.ToSlash(full))
		err := doublestar.GlobWalk(os.DirFS(base), pattern, func(name string, _ fs.DirEntry) error {
			if name == "." { // which ** matches too
				return nil
			}
			found = true
			return doublestar.SkipDir
		}, doublestar.WithNoFollow())
		if found || err != nil {
			return nil
		}
		return at.errorf("%s: nothing beside the recipe matches %s", key, text)
	}
	return at.errorf("%s: no such file or folder beside the recipe: %s", key, text)
}
