package recipe

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what is wanted into testdata/bad")

// archives unpacks every archive of a folder into a folder of its own, which is the working directory of f.
func archives(t *testing.T, pattern string, f func(t *testing.T, name string, a *txtar.Archive)) {
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no archives %s: %v", pattern, err)
	}
	for _, name := range names {
		name, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := txtar.Write(a, dir); err != nil {
				t.Fatal(err)
			}
			t.Chdir(dir)
			f(t, name, a)
		})
	}
}

// Each archive has a recipe with one class of mistakes and all the lines that are said about it.
func TestBadRecipes(t *testing.T) {
	archives(t, "testdata/bad/*.txtar", func(t *testing.T, name string, a *txtar.Archive) {
		r, err := Load("recipe.yaml")
		got := ""
		if err != nil {
			got = err.Error() + "\n"
		}
		if r != nil || err == nil {
			t.Errorf("recipe %v, error %v: want no recipe and mistakes", r != nil, err)
		}
		for i := range a.Files {
			if a.Files[i].Name != "want" {
				continue
			}
			if *update {
				a.Files[i].Data = []byte(got)
				if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(a.Files[i].Data), got); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
			return
		}
		t.Error("no want in the archive")
	})
}
