package recipe

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

func TestGoodRecipes(t *testing.T) {
	archives(t, "testdata/good/*.txtar", func(t *testing.T, _ string, _ *txtar.Archive) {
		if _, err := Load("recipe.yaml"); err != nil {
			t.Error(err)
		}
	})
}

func load(t *testing.T, archive string) *Recipe {
	t.Helper()
	a, err := txtar.ParseFile("testdata/good/" + archive + ".txtar")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := txtar.Write(a, dir); err != nil {
		t.Fatal(err)
	}
	r, err := Load(dir + "/recipe.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func parse(t *testing.T, text string) *Recipe {
	t.Helper()
	r, err := Parse("recipe.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Every field of every type is set by some key of the full recipe: nothing that the schema allows is lost, and no field
// waits for a key that there is not.
func TestFullRecipeFillsEveryField(t *testing.T) {
	set := map[string]bool{}
	fields(reflect.ValueOf(load(t, "full")), "", set)
	fields(reflect.ValueOf(load(t, "glob")), "", set)
	fields(reflect.ValueOf(load(t, "file")), "", set)
	for field, filled := range set {
		if !filled {
			t.Errorf("%s is never filled in", field)
		}
	}
	if len(set) < 80 {
		t.Errorf("only %d fields seen", len(set))
	}
}

func fields(v reflect.Value, name string, set map[string]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			fields(v.Elem(), name, set)
		}
	case reflect.Slice:
		for i := range v.Len() {
			fields(v.Index(i), name, set)
		}
	case reflect.Struct:
		if strings.HasPrefix(v.Type().PkgPath(), "github.com/sbxrun/sbxrun/internal") {
			return
		}
		for i := range v.NumField() {
			field := v.Type().Name() + "." + v.Type().Field(i).Name
			set[field] = set[field] || !v.Field(i).IsZero()
			fields(v.Field(i), field, set)
		}
	}
}

func TestDefaults(t *testing.T) {
	r := parse(t, `
version: 1
steps:
  - run: one
  - name: Build it!
    argv: [x]
  - parallel: [{run: x, shell: bash}, {run: y, shell: python3 -u}]
finally:
  - run: z
    background: true
`)
	if r.Name != "recipe" || r.Samples != nil || r.Timeout.Source() != "1h" || r.Cases != nil {
		t.Errorf("name %q, samples %v, timeout %v, cases %v", r.Name, r.Samples, r.Timeout.Source(), r.Cases)
	}
	if diff := cmp.Diff(Pool{Warm: -1, Reuse: "never"}, r.Pool); diff != "" {
		t.Error(diff)
	}
	if len(r.Sandboxes) != 1 || r.Sandboxes[0].Name != "default" {
		t.Errorf("sandboxes %v", r.Sandboxes)
	}
	type step struct {
		Name, ID, Sandbox string
		Shell             []string
		Quotes            bool
		Timeout           any
		Retry             bool
		Pos               Pos
	}
	var got []step
	for _, items := range [][]Item{r.Steps, r.Finally} {
		for _, item := range items {
			for _, s := range item.Steps {
				var timeout any
				if s.Timeout != nil {
					timeout = s.Timeout.Source()
				}
				got = append(got, step{s.Name.Source(), s.ID, s.Sandbox, s.Shell, s.QuotesValues, timeout, s.Retry.Attempts != nil, s.Pos})
			}
		}
	}
	sh := []string{"sh", "-e"}
	want := []step{
		{"step-1", "step_1", "default", sh, true, "10m", false, Pos{Line: 4, Column: 5}},
		{"Build it!", "Build_it_", "default", sh, true, "10m", false, Pos{Line: 5, Column: 5}},
		{"step-3", "step_3", "default", []string{"bash", "-eo", "pipefail"}, true, "10m", false, Pos{Line: 7, Column: 16}},
		{"step-4", "step_4", "default", []string{"python3", "-u"}, false, "10m", false, Pos{Line: 7, Column: 39}},
		{"step-5", "step_5", "default", sh, true, nil, false, Pos{Line: 9, Column: 5}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDefaultsOfTheRecipe(t *testing.T) {
	r := parse(t, `
version: 1
defaults: {timeout: 1m, shell: [zsh, -f], retry: {attempts: 2, backoff: 1s}, normalize: [trim]}
steps:
  - run: a
    expect: {stdout: x, stderr: {contains: y, normalize: []}}
  - run: b
    timeout: 5s
    retry: {attempts: 1}
`)
	a, b := r.Steps[0].Steps[0], r.Steps[1].Steps[0]
	if a.Timeout.Source() != "1m" || b.Timeout.Source() != "5s" {
		t.Errorf("timeouts %v, %v", a.Timeout.Source(), b.Timeout.Source())
	}
	if diff := cmp.Diff([]string{"zsh", "-f"}, a.Shell); diff != "" || !a.QuotesValues {
		t.Error(diff, a.QuotesValues)
	}
	if a.Retry.Attempts.Source() != 2 || a.Retry.Backoff.Source() != "1s" || b.Retry.Attempts.Source() != 1 || b.Retry.Backoff != nil {
		t.Errorf("retry %+v, %+v", a.Retry, b.Retry)
	}
	if len(a.Expect.Stdout.Normalize) != 1 || len(a.Expect.Stderr.Normalize) != 0 {
		t.Errorf("normalize %v, %v", a.Expect.Stdout.Normalize, a.Expect.Stderr.Normalize)
	}
}

func TestYAML(t *testing.T) {
	tests := []struct {
		name, text string
	}{
		{"byte order mark", "\ufeffversion: 1\nname: want\nsteps: [{run: x}]\n"},
		{"windows line ends", "version: 1\r\nname: want\r\nsteps:\r\n  - run: x\r\n"},
		{"version 1.0", "version: 1.0\nname: want\nsteps: [{run: x}]\n"},
		{"document markers", "%YAML 1.1\n---\nversion: 1\nname: want\nsteps: [{run: x}]\n...\n"},
		{"json", `{"version": 1, "name": "want", "steps": [{"run": "x"}]}`},
		{"alias", "version: 1\nvars: {a: &a want}\nname: *a\nsteps: [{run: x}]\n"},
		{"merge", "version: 1\nname: want\nsteps:\n  - &s {run: x, env: &e {A: 1}}\n  - {<<: *s, env: {<<: [*e, {A: 2, B: 3}]}}\n"},
		{"string tag", "version: 1\nname: !!str want\nsteps: [{run: !!str true}]\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if r := parse(t, tt.text); r.Name != "want" {
				t.Errorf("name %q", r.Name)
			}
		})
	}
}

func TestMergeKeys(t *testing.T) {
	r := parse(t, `
version: 1
vars:
  one: &one {A: "1", B: "1", C: "1"}
  two: &two {B: "2", C: "2", D: "2"}
steps:
  - run: x
    env:
      <<: [*one, *two]
      C: "3"
`)
	got := map[string]string{}
	for _, e := range r.Steps[0].Steps[0].Env {
		got[e.Name] = e.Value.Source()
	}
	if diff := cmp.Diff(map[string]string{"A": "1", "B": "1", "C": "3", "D": "2"}, got); diff != "" {
		t.Error(diff)
	}
}

// Text is what is written, whatever YAML takes it for.
func TestScalarsAsText(t *testing.T) {
	r := parse(t, `
version: 1
name: 2024-01-01
steps:
  - argv: [echo, 3.10, 0644, 1e3, true, Yes, 0x1F, 12:30, 1_000]
    env: {V: 1.0}
`)
	s := r.Steps[0].Steps[0]
	got := []string{r.Name, s.Env[0].Value.Source()}
	for _, a := range s.Argv[1:] {
		got = append(got, a.Source())
	}
	want := []string{"2024-01-01", "1.0", "3.10", "0644", "1e3", "true", "Yes", "0x1F", "12:30", "1_000"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestModes(t *testing.T) {
	for text, want := range map[string]uint32{"0644": 0o644, "644": 0o644, `"0644"`: 0o644, `"755"`: 0o755, "0o600": 0o600, "7": 0o007} {
		r := parse(t, "version: 1\nfiles: [{content: a, dst: b, mode: "+text+"}]\nsteps: [{run: x}]\n")
		if got, err := ModeOf(r.Files[0].Mode.Source()); got != want || err != nil {
			t.Errorf("mode %s = %o (%v), want %o", text, got, err, want)
		}
	}
}

func TestDataKeepsTypes(t *testing.T) {
	r := parse(t, "version: 1\nvars: {a: 1, b: 1.5, c: true, d: null, e: yes, f: [1, x], g: {h: 2}, i: \"1\", j: 0x10, k: '$${{ x }}', l: 2024-01-01}\nsteps: [{run: x}]\n")
	got := map[string]any{}
	for _, v := range r.Vars {
		got[v.Name] = v.Value
	}
	want := map[string]any{
		"a": 1, "b": 1.5, "c": true, "d": nil, "e": "yes", "f": []any{1, "x"}, "g": map[string]any{"h": 2}, "i": "1", "j": 16,
		"k": "${{ x }}", "l": "2024-01-01",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
