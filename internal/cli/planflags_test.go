package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// Each recipe gets what it has; a name that none has reaches all of them, to be an error.
func TestSetOfSeveralRecipes(t *testing.T) {
	a := &recipe.Recipe{Vars: []recipe.Var{{Name: "model"}, {Name: "n"}}}
	b := &recipe.Recipe{Vars: []recipe.Var{{Name: "n"}}}
	all := []*recipe.Recipe{a, b}
	set := map[string]string{"model": "small", "n": "1", "modle": "x"}
	for _, tt := range []struct {
		of   *recipe.Recipe
		want map[string]string
	}{
		{a, set},
		{b, map[string]string{"n": "1", "modle": "x"}},
	} {
		if diff := cmp.Diff(tt.want, setOf(tt.of, all, set)); diff != "" {
			t.Error(diff)
		}
	}
}
