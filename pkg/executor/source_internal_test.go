package executor

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sbxrun/sbxrun/internal/beneath"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// What a glob matches may lie in a folder that it matches too.
func TestAGlobAddsNothingTwice(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"d/a", "d/sub/b", "d/sub/deep/c"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for glob, want := range map[string][]string{
		"d/*":                   {"a", "sub", "sub/b", "sub/deep", "sub/deep/c"},
		"d/**":                  {"a", "sub", "sub/b", "sub/deep", "sub/deep/c"},
		"d/{s*,sub,sub/deep}":   {"sub", "sub/b", "sub/deep", "sub/deep/c"},
		"d/**/{b,deep}":         {"sub/b", "sub/deep", "sub/deep/c"},
		"{d,d/sub/deep/c}":      {"d", "d/a", "d/sub", "d/sub/b", "d/sub/deep", "d/sub/deep/c"},
		filepath.Join(dir, "*"): {"d", "d/a", "d/sub", "d/sub/b", "d/sub/deep", "d/sub/deep/c"},
	} {
		g := gather{origins: origins{recipe: &recipe.Recipe{Dir: dir}}, exposed: new(beneath.Folders)}
		if err := g.source(glob, "", 0, bounds{}); err != nil {
			t.Errorf("%s: %v", glob, err)
		}
		var got []string
		for _, e := range g.to.workspace {
			got = append(got, e.name)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", glob, got, want)
		}
	}
}
