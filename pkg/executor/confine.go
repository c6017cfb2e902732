package executor

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// confined refuses a path beside the recipe, which t came to, where a row of a data file or the code under test chose it and
// it leads out of the folder that the recipe itself names, up to the first expression: or else they could have any
// file of the host staged and shown. What the recipe, its lists and --set say is free.
func confined(r *recipe.Recipe, t *expr.Template, name string) error {
	byData := r.Cases != nil && r.Cases.File != nil && t.Uses("case")
	if !byData && !t.Uses("steps") {
		return nil
	}
	fixed, _, _ := strings.Cut(t.Source(), "${{")
	folder := beside(r.Dir, fixed[:strings.LastIndexByte(fixed, '/')+1])
	full := beside(r.Dir, name)
	if inside(folder, full) && inside(resolved(folder), resolved(full)) {
		return nil
	}
	if t.Uses("steps") {
		return unfit("%q, which a step chose, leads out of the folder %s", name, folder)
	}
	return fmt.Errorf("%q, which a row of data chose, leads out of the folder %s: name the folder in the recipe, before the expression", name, folder)
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
