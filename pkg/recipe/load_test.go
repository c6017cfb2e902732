package recipe

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Mkdir("folder.yaml", 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		path, data, want string
	}{
		{"missing.yaml", "", "missing.yaml: cannot read the recipe: no such file or directory"},
		{"folder.yaml", "", "folder.yaml: cannot read the recipe: is a directory"},
		{"empty.yaml", " ", "empty.yaml:1:1: the recipe is empty"},
		{"dir/../a.yaml", "null", "dir/../a.yaml:1:1: the recipe is empty"},
		{"utf16.yaml", "\xff\xfev\x00", "utf16.yaml:1:1: the file is UTF-16: save it as UTF-8"},
		{"latin1.yaml", "version: 1\nname: caf\xe9\n", "latin1.yaml:2:10: the byte 0xe9 is not UTF-8: save the file as UTF-8"},
		{"nul.yaml", "version: 1\x00", `nul.yaml:1:11: YAML does not allow the character U+0000: write it as "\u0000" in double quotes`},
		{"huge.yaml", "version: 1\n" + strings.Repeat("#\n", maxSize/2), "huge.yaml:1:1: the recipe is larger than 1024 KiB: put data into files and name them in cases.file or files"},
	}
	if err := os.Mkdir("dir", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		if tt.data != "" {
			if err := os.WriteFile(tt.path, []byte(tt.data), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		r, err := Load(tt.path)
		var d Diagnostics
		if r != nil || !errors.As(err, &d) || err.Error() != tt.want {
			t.Errorf("%s: got %v, want %s", tt.path, err, tt.want)
		}
	}
}

func TestGoldenThroughSymlinks(t *testing.T) {
	dir := t.TempDir()
	inside := filepath.Join(dir, "recipes")
	for _, f := range []string{inside + "/golden", dir + "/outside"} {
		if err := os.MkdirAll(f, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"out": "../outside", "in": "golden", "file.txt": "../outside/x.txt", "loop": "loop"} {
		if err := os.Symlink(target, filepath.Join(inside, name)); err != nil {
			t.Fatal(err)
		}
	}
	for golden, want := range map[string]string{
		"in/x.txt":       "",
		"in/new/x.txt":   "",
		"out/x.txt":      "path escapes from parent",
		"out/new/x.txt":  "path escapes from parent",
		"file.txt":       "path escapes from parent",
		"in/../file.txt": "path escapes from parent",
		"loop":           "too many levels of symbolic links",
	} {
		text := fmt.Sprintf("version: 1\nsteps: [{run: x, expect: {stdout: {golden: %q}}}]\n", golden)
		_, err := Parse(inside+"/recipe.yaml", []byte(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasSuffix(err.Error(), want)) {
			t.Errorf("golden %s: got %v, want %q", golden, err, want)
		}
	}
}

func TestSpecialFilesAreNotStaged(t *testing.T) {
	_, err := Parse("recipe.yaml", []byte("version: 1\nfiles: [{src: /dev/null}]\nsteps: [{run: x}]\n"))
	if want := "recipe.yaml:2:15: src: /dev/null is neither a file nor a folder"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// What is written to take time or memory is refused, or is read, in a time that nobody waits for.
func TestHostileRecipes(t *testing.T) {
	repeat := func(s string, n int) string { return strings.Repeat(s, min(n, (maxSize-100)/len(s))) }
	steps := "steps: [{run: x}]\n"
	bomb := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 60; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, repeat(fmt.Sprintf("*a%d,", i-1), 10))
	}
	nested := ""
	for i := range 3000 {
		nested += fmt.Sprintf("b%d: &b%d {x: *b%d}\n", i+1, i+1, i)
	}
	merges := "vars: &m0 {a: 1}\n"
	for i := range 2000 {
		merges += fmt.Sprintf("k%d: &m%d {<<: [*m%d, *m%d], k%d: 1}\n", i+1, i+1, i, i, i)
	}
	for name, text := range map[string]string{
		"bomb":             "version: 1\n" + steps + bomb,
		"nested aliases":   "b0: &b0 x\n" + nested,
		"merges":           merges,
		"lists":            "version: 1\nvars: {x: " + repeat("[", maxSize),
		"mappings":         repeat("{a: ", maxSize),
		"block nesting":    repeat("- ", maxSize),
		"values":           "version: 1\nvars: {x: [" + repeat("1,", maxSize) + "]}\n" + steps,
		"unknown keys":     repeat("a: 1\nb: 2\n", 100000),
		"distinct keys":    distinct("key%d: 1\n", 60000),
		"wrong steps":      "version: 1\nsteps: [" + repeat("1,", maxSize) + "]\n",
		"empty steps":      "version: 1\nsteps:\n" + repeat("- {}\n", 100000),
		"one line":         "version: 1\nsteps: [" + repeat("{run: '${{ x }}'},", maxSize) + "]\n",
		"step references":  "version: 1\nsteps:\n" + distinct("- {name: n%d, run: '${{ steps.n1.exit }}'}\n", 3000),
		"comments":         repeat("# comment\n", maxSize),
		"one expression":   "version: 1\nsteps: [{run: x, if: '" + repeat("(", maxSize) + "'}]\n",
		"long expression":  "version: 1\nsteps: [{run: x, if: '1" + repeat(" + 1", maxSize) + "'}]\n",
		"many expressions": "version: 1\nsteps: [{run: x, stdin: '" + repeat("${{ x }}", maxSize) + "'}]\n",
		"regexp":           "version: 1\nsteps: [{run: x, expect: {stdout: {matches: '" + repeat("(a{1000}){1000}", 1000) + "'}}}]\n",
		"unclosed":         "version: 1\nname: \"" + repeat("a\n", maxSize),
		"key":              repeat("k", maxSize) + ": 1\n",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := Parse("recipe.yaml", []byte(text))
			if err == nil {
				t.Error("no mistake was found")
			} else if n := len(err.Error()); n > 1<<20 {
				t.Errorf("%d bytes of messages", n)
			}
			t.Logf("%s: %d bytes in %s", name, len(text), time.Since(start))
		})
	}
}

func distinct(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}
