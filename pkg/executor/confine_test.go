package executor

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

func TestBounds(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"recipe/data", "common"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "recipe/data/link")); err != nil {
		t.Fatal(err)
	}
	data := &recipe.Recipe{Dir: filepath.Join(dir, "recipe"), Cases: &recipe.Cases{File: expr.Literal("rows.jsonl")}}
	list := &recipe.Recipe{Dir: data.Dir, Cases: &recipe.Cases{}}
	for _, tt := range []struct {
		name      string
		recipe    *recipe.Recipe
		src, path string
		free      bool
	}{
		{"inside", data, "data/${{ case.f }}", "data/x", true},
		{"a folder below", data, "data/${{ case.f }}", "data/a/b", true},
		{"beside the recipe", data, "${{ case.f }}", "x/y", true},
		{"a folder elsewhere that the recipe names", data, "../common/${{ case.f }}", "../common/x", true},
		{"back in", data, "data/${{ case.f }}", "data/../data/x", true},
		{"out", data, "data/${{ case.f }}", "data/../other", false},
		{"out of all", data, "${{ case.f }}", "../common/x", false},
		{"absolute", data, "${{ case.f }}", "/etc/shadow", false},
		{"absolute folder", data, "/srv/${{ case.f }}", "/srv/x", true},
		{"out of an absolute folder", data, "/srv/${{ case.f }}", "/srv/../etc/shadow", false},
		{"through a link", data, "data/${{ case.f }}", "data/link", false},
		{"cases of the recipe", list, "${{ case.f }}", "/etc/hostname", true},
		{"a variable", data, "${{ vars.f }}", "/etc/hostname", true},
		{"a step", list, "${{ steps.a.out }}", "../x", false},
		{"a variable of the step that a step chose", list, "${{ env.STEP }}", "../x", false},
		{"one of the recipe that a row chose", data, "${{ env.ROW }}", "../x", false},
		{"one of cases of the recipe", list, "${{ env.ROW }}", "../x", true},
		{"one through another", data, "${{ env.AGAIN }}", "../x", false},
		{"one that the step hides", data, "${{ env.HIDDEN }}", "../x", true},
		{"one that is free beside others", data, "${{ env.FREE }}", "../x", true},
		{"any of them", data, "${{ env[vars.x] }}", "../x", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scope := expr.Known{}.Sample().With(map[string]*expr.Name{
				"case": {Kind: expr.Map, Open: true}, "vars": {Kind: expr.Map, Open: true}, "steps": {Kind: expr.Map, Open: true},
				"env": {Kind: expr.Map, Open: true},
			})
			parse := func(text string) *expr.Template {
				p, err := expr.Parse(text, scope)
				if err != nil {
					t.Fatal(err)
				}
				return p
			}
			o := origins{tt.recipe, [][]recipe.EnvVar{
				{
					{Name: "STEP", Value: parse("${{ steps.a.stdout }}")}, {Name: "AGAIN", Value: parse("x/${{ env.ROW }}")},
					{Name: "HIDDEN", Value: parse("literal")}, {Name: "FREE", Value: parse("${{ vars.f }}")},
				},
				{{Name: "ROW", Value: parse("${{ case.f }}")}, {Name: "HIDDEN", Value: parse("${{ case.f }}")}},
			}}
			if err := o.bounds(parse(tt.src)).check(tt.path, beside(tt.recipe.Dir, tt.path)); (err == nil) != tt.free {
				t.Errorf("error %v", err)
			}
		})
	}
}
