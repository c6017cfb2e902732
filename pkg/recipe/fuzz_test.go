package recipe

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"
)

// corpus are the recipes of all archives.
func corpus(t testing.TB) (all [][]byte) {
	for _, pattern := range []string{"testdata/good/*.txtar", "testdata/bad/*.txtar"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatal(pattern, err)
		}
		for _, name := range names {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, a.Files[0].Data)
		}
	}
	return all
}

// Whatever the file holds, there is either a recipe or mistakes with places in the file.
func FuzzParse(f *testing.F) {
	for _, data := range corpus(f) {
		f.Add(data)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Parse(filepath.Join(dir, "recipe.yaml"), data)
		if err == nil {
			if r == nil || len(r.Steps) == 0 || len(r.Sandboxes) == 0 {
				t.Fatal("no recipe and no mistake")
			}
			for _, item := range r.Steps {
				for _, s := range item.Steps {
					if s.Name == nil || s.ID == "" || s.Sandbox == "" || (s.Run == nil) == (s.Argv == nil) || len(s.Shell) == 0 {
						t.Fatalf("a step that is not whole: %+v", s)
					}
				}
			}
			return
		}
		var mistakes Diagnostics
		if r != nil || !errors.As(err, &mistakes) || len(mistakes) == 0 {
			t.Fatalf("recipe %v with error %v", r, err)
		}
		src := newSource(string(data))
		for i, m := range mistakes {
			if m.Message == "" || !utf8.ValidString(m.Message) && utf8.Valid(data) {
				t.Errorf("message %q", m.Message)
			}
			if m.Pos == (Pos{}) {
				continue
			}
			if m.Line < 1 || m.Line > len(src.lines) || m.Column < 1 || m.Column > utf8.RuneCountInString(line(src, m.Line))+1 {
				t.Errorf("%s is not in the file", m)
			}
			if i > 0 && mistakes[i-1] == m {
				t.Errorf("%s is said twice", m)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	a, err := txtar.ParseFile("testdata/good/full.txtar")
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	if err := txtar.Write(a, dir); err != nil {
		b.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"small": []byte("version: 1\nsteps: [{run: echo hello}]\n"),
		"full":  a.Files[0].Data,
		"steps": []byte("version: 1\nsteps:\n" + distinct("  - {name: n%d, run: 'echo ${{ run.id }}', expect: {stdout: x}}\n", 500)),
		"rows":  []byte("version: 1\nsteps: [{run: x}]\ncases:\n  list:\n" + distinct("    - {id: a%d, n: 1, text: some text}\n", 10000)),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := Parse(filepath.Join(dir, "recipe.yaml"), data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What a process pays once.
func BenchmarkCompileRules(b *testing.B) {
	for b.Loop() {
		compileRules()
	}
}

// line is the text of a line, from 1, without its break.
func line(s *source, n int) string {
	start, end := s.lines[n-1], len(s.text)
	if n < len(s.lines) {
		end = s.lines[n]
	}
	return strings.TrimRight(s.text[start:end], "\r\n\u0085\u2028\u2029")
}
