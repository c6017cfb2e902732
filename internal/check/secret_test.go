package check

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/internal/mask"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// longSecret is longer than what any message shows of a text.
var longSecret = strings.Repeat("0123456789abcdef", 40)

// What an outcome is compared with may have secrets from env, from a case or in the recipe itself. They are masked on both
// sides, so that what was equal stays so and no message has a part of one.
func TestSecretsOfWanted(t *testing.T) {
	secrets := mask.New(map[string]string{"T": longSecret})
	env := expr.Env{"env": map[string]any{"T": longSecret, "OTHER": "x"}, "case": map[string]any{"t": longSecret}}
	texts := func(sources ...string) []recipe.Match {
		var m []recipe.Match
		for _, s := range sources {
			m = append(m, recipe.Match{Text: template(t, s), Pos: at})
		}
		return m
	}
	json := func(v any) *expr.Value {
		value, err := expr.ParseValue(v, expr.Known{CaseOpen: true, EnvOpen: true}.Outcome())
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	ansi := []recipe.Normalize{{Kind: "ansi", Pos: at}}
	replace := func(this, with string) []recipe.Normalize {
		return []recipe.Normalize{{Kind: "replace", Replace: template(t, this), With: template(t, with), Pos: at}}
	}
	tests := []struct {
		name   string
		stdout string // as it comes: masked
		expect recipe.Expect
		want   string
	}{
		{"equals", "token=***\n", recipe.Expect{Stdout: &recipe.Text{Equals: texts("token=${{ env.T }}", "token=${{ case.t }}", "token="+longSecret)}}, ""},
		{"contains", "token=***\n", recipe.Expect{Stdout: &recipe.Text{Contains: texts("${{ env.T }}\n")}}, ""},
		{"not equal", "no", recipe.Expect{Stdout: &recipe.Text{Equals: texts("x${{ env.T }}")}},
			`stdout.equals: stdout is not the expected text: the first difference is in line 1, column 1: want "x***", got "no"`},
		{"does not contain", "no", recipe.Expect{Stdout: &recipe.Text{Contains: texts("x${{ env.T }}")}}, `stdout.contains: stdout does not contain "x***"; it is "no"`},
		{"contains and should not", "is ***", recipe.Expect{Stdout: &recipe.Text{NotContains: texts("${{ env.T }}")}},
			`stdout.not_contains: stdout contains "***" in line 1: "is ***"`},
		{"matches", "is ***", recipe.Expect{Stdout: &recipe.Text{Matches: texts("^is ${{ env.T }}$")}}, ""},
		{"does not match", "is ***", recipe.Expect{Stdout: &recipe.Text{Matches: texts("x${{ env.T }}", "["+longSecret)}},
			`stdout.matches: stdout does not match /x\*\*\*/; it is "is ***"` + "\n" + "stdout.matches: error parsing regexp: missing closing ]: `[\\*\\*\\*`"},
		{"json", `{"a": "***"}`, recipe.Expect{Stdout: &recipe.Text{JSON: json(map[string]any{"a": "${{ env.T }}"})}}, ""},
		{"other json", `{"a": "b"}`, recipe.Expect{Stdout: &recipe.Text{JSON: json(map[string]any{"a": "${{ env.T }}"})}},
			`stdout.json: stdout is not the expected JSON: .a: want "***", got "b"`},
		{"json with escapes", `{"a": "` + strings.ReplaceAll(longSecret, "a", `\u0061`) + `"}`, recipe.Expect{Stdout: &recipe.Text{JSON: json(map[string]any{"a": "b"})}},
			`stdout.json: stdout is not the expected JSON: .a: want "b", got "***"`},
		{"in pieces", "\x1b[1m" + longSecret[:9] + "\x1b[0m" + longSecret[9:], recipe.Expect{Stdout: &recipe.Text{Equals: texts("x"), Normalize: ansi}},
			`stdout.equals: stdout is not the expected text: the first difference is in line 1, column 1: want "x", got "***"`},
		{"replaced", "x *** y", recipe.Expect{Stdout: &recipe.Text{Equals: texts("x TOKEN y"), Normalize: replace("${{ env.T }}", "TOKEN")}}, ""},
		{"put in", "hello", recipe.Expect{Stdout: &recipe.Text{Equals: texts("bye"), Normalize: replace("h(ello)", "${{ env.T }}$1")}},
			`stdout.equals: stdout is not the expected text: the first difference is in line 1, column 1: want "bye", got "***ello"`},
		{"conditions", "***", recipe.Expect{That: []recipe.That{condition(t, "stdout == env.T"), condition(t, `file("t") contains env.T`), condition(t, `env.OTHER == "x"`)}}, ""},
		{"conditions that fail", "no", recipe.Expect{That: []recipe.That{condition(t, "stdout == env.T"), condition(t, "int(env.T) == 1")}},
			`that: stdout == env.T: does not hold, with stdout = "no"` + "\n" + "that: int(env.T) == 1: cannot be evaluated: int(): cannot do int(***)"},
		{"status", "", recipe.Expect{Exit: recipe.Exit{Values: json("${{ env.T }}"), Pos: at}},
			`exit: the expected exit status cannot be told: "***" is not a whole number`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := Outcome{Stdout: Bytes([]byte(tt.stdout)), Mask: secrets, Fetch: func(context.Context, []string) (map[string]Fetched, error) {
				return map[string]Fetched{"t": {Content: Bytes([]byte("token=***"))}}, nil
			}}
			r, err := Step(t.Context(), &recipe.Step{Expect: tt.expect}, t.TempDir(), out, env, false)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, messages(r)); d != "" {
				t.Error(d)
			}
			for _, f := range r.Findings {
				if strings.Contains(f.Diff, longSecret[:20]) {
					t.Errorf("the diff has a part of the secret: %s", f.Diff)
				}
			}
		})
	}
}

// Paths, sizes and digests are exact.
func TestSecretsOfFiles(t *testing.T) {
	content := []byte(`{"ok": true, "n": 158, "t": "a 58 in it"}                 `)
	digest := fmt.Sprintf("%x", sha256.Sum256(content))
	exact := func(size any, sha string) recipe.Expect {
		return recipe.Expect{Files: []recipe.FileExpect{{Path: template(t, "out-${{ env.T }}"), Pos: at, Size: expr.LiteralValue(size), SHA256: expr.Literal(sha)}}}
	}
	fetch := func(_ context.Context, paths []string) (map[string]Fetched, error) {
		got := Fetched{Content: Bytes(content)}
		if paths[0] != "out-58" {
			t.Errorf("asked for %q", paths)
		}
		return map[string]Fetched{paths[0]: got}, nil
	}
	out := Outcome{Fetch: fetch, Mask: mask.New(map[string]string{"T": "58"})}
	env := expr.Env{"env": map[string]any{"T": "58"}}
	withJSON := exact(58, digest)
	withJSON.Files[0].Text = &recipe.Text{JSON: expr.LiteralValue(map[string]any{"ok": true, "n": 158, "t": "a 58 in it"}), JSONPos: at}
	for want, e := range map[string]recipe.Expect{
		"": withJSON,
		`files["out-58"].size: "out-58" has 58 bytes, want 3` + "\n" + `files["out-58"].sha256: "out-58" has the SHA-256 ` + digest + ", want abc": exact(3, "abc"),
	} {
		r, err := Step(t.Context(), &recipe.Step{Expect: e}, t.TempDir(), out, env, false)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, messages(r)); d != "" {
			t.Error(d)
		}
	}
}

// A golden file with a secret in clear holds, is not shown, and is written without it by --update.
func TestSecretsOfGolden(t *testing.T) {
	secrets := mask.New(map[string]string{"T": longSecret})
	dir := t.TempDir()
	path := filepath.Join(dir, "old")
	stepWith := func(stdout string, update bool) Report {
		t.Helper()
		r, err := Step(t.Context(), &recipe.Step{Expect: recipe.Expect{Stdout: golden("old")}}, dir, Outcome{Stdout: Bytes([]byte(stdout)), Mask: secrets}, nil, update)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	writeFile(t, path, "a\ntoken="+longSecret+"\n")
	if r := stepWith("a\ntoken=***\n", false); r.Reason != "" {
		t.Error(messages(r))
	}
	r := stepWith("b\ntoken=***\n", false)
	if len(r.Findings) != 1 || strings.Contains(r.Findings[0].Diff, longSecret[:20]) || !strings.Contains(r.Findings[0].Diff, " token=***\n") {
		t.Errorf("%+v", r.Findings)
	}
	u := NewUpdates(t.TempDir())
	if err := u.Add(dir, stepWith("a\ntoken=***\n", true).Golden); err != nil {
		t.Fatal(err)
	}
	if written, err := u.Write(); err != nil || len(written) != 1 {
		t.Fatal(written, err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "a\ntoken=***\n" {
		t.Errorf("%q, %v", got, err)
	}
	if err := u.Add(dir, stepWith("a\ntoken=***\n", true).Golden); err != nil {
		t.Fatal(err)
	}
	if written, err := u.Write(); err != nil || len(written) != 0 {
		t.Error("it is written again", written, err)
	}
}
