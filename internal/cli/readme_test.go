package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// What the README shows is so: its recipe is valid, and its commands and flags are there.
func TestReadme(t *testing.T) {
	data, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	_, rest, _ := strings.Cut(text, "```yaml\n")
	source, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("the README has no recipe")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "wc.py"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := recipe.Parse(filepath.Join(dir, "recipe.yaml"), []byte(source)); err != nil {
		t.Error(err)
	}

	root := newRoot(stdio{os.Stdin, os.Stdout, os.Stderr})
	flags := verb(root, "run").Flags()
	for _, m := range regexp.MustCompile("(?m)(?:^    |`)sbxrun ([a-z]+)\\b").FindAllStringSubmatch(text, -1) {
		if verb(root, m[1]) == nil && m[1] != "recipe" {
			t.Errorf("the README shows %q, which is no command", m[0])
		}
	}
	for _, m := range regexp.MustCompile(`--([a-z]+(?:-[a-z]+)*)`).FindAllStringSubmatch(text, -1) {
		if flags.Lookup(m[1]) == nil {
			t.Errorf("the README shows %s, which run does not have", m[0])
		}
	}
}
