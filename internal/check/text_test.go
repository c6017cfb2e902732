package check

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

func TestText(t *testing.T) {
	norm := func(kinds ...string) (n []recipe.Normalize) {
		for _, k := range kinds {
			if re, with, ok := strings.Cut(k, " -> "); ok {
				n = append(n, recipe.Normalize{Kind: "replace", Replace: expr.Literal(re), With: expr.Literal(with), Pos: at})
			} else {
				n = append(n, recipe.Normalize{Kind: k, Pos: at})
			}
		}
		return n
	}
	tests := []struct {
		name string
		got  string
		text recipe.Text
		want string // the findings; empty: it holds
	}{
		{"equals", "a\nb\n", recipe.Text{Equals: match("a\nb")}, ""},
		{"equals ignores final newlines of both", "a", recipe.Text{Equals: match("a\n\n")}, ""},
		{"equals nothing", "\n", recipe.Text{Equals: match("")}, ""},
		{"equals keeps newlines within", "a\n\nb", recipe.Text{Equals: match("a\nb")},
			`stdout.equals: stdout is not the expected text: the first difference is in line 2, column 1: want "b", got "\n" (only white space differs)`},
		{"equals keeps a newline before the text", "\na", recipe.Text{Equals: match("a")},
			`stdout.equals: stdout is not the expected text: the first difference is in line 1, column 1: want "a", got "\n" (only white space at the beginning or end differs: ` + "`normalize: [trim]` evens that out)"},
		{"equals, prefix", "abc", recipe.Text{Equals: match("abcd")},
			`stdout.equals: stdout is not the expected text: the first difference is in line 1, column 4: want "d", got the end`},
		{"column in characters", "äöx", recipe.Text{Equals: match("äöy")},
			`stdout.equals: stdout is not the expected text: the first difference is in line 1, column 3: want "y", got "x"`},
		{"difference within a character", "\u00e4", recipe.Text{Equals: match("\u00e5")},
			`stdout.equals: stdout is not the expected text: the first difference is in line 1, column 1: want "å", got "ä"`},
		{"all findings", "abc", recipe.Text{Equals: match("x"), Contains: match("b", "y"), NotContains: match("c")},
			`stdout.equals: stdout is not the expected text: the first difference is in line 1, column 1: want "x", got "abc"` + "\n" +
				`stdout.contains: stdout does not contain "y"; it is "abc"` + "\n" +
				`stdout.not_contains: stdout contains "c" in line 1: "abc"`},
		{"lines hint", "ab\n", recipe.Text{Matches: match("^a.$")},
			`stdout.matches: stdout does not match /^a.$/; it is "ab\n" (with (?m) before it, it would: ^ and $ are then the ends of lines)`},
		{"no lines hint", "ab\n", recipe.Text{Matches: match("^b$")}, `stdout.matches: stdout does not match /^b$/; it is "ab\n"`},
		{"crlf hint", "a\r\nb\r\n", recipe.Text{Equals: match("a\nb\n")},
			`stdout.equals: stdout is not the expected text: the first difference is in line 1, column 2: want "\n", got "\r\n"` +
				" (only line ends differ, CRLF and LF: `normalize: [crlf]` evens that out)"},
		{"crlf", "a\r\nb\r\n", recipe.Text{Equals: match("a\nb"), Normalize: norm("crlf")}, ""},
		{"crlf on the other side", "a\nb\n", recipe.Text{Equals: match("a\r\nb\r\n"), Normalize: norm("crlf")}, ""},
		{"ansi hint", "\x1b[31mred\x1b[0m", recipe.Text{Equals: match("red")},
			`stdout.equals: stdout is not the expected text: the first difference is in line 1, column 1: want "red", got "\x1b[31mred\x1b[0m"` +
				" (only escape sequences differ: `normalize: [ansi]` evens that out)"},
		{"ansi", "\x1b[31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x07", recipe.Text{Equals: match("red link"), Normalize: norm("ansi")}, ""},
		{"ansi in a broken character", "\xc3\x1b[0mx", recipe.Text{Equals: match("\uFFFDx"), Normalize: norm("ansi")}, ""},
		{"trim", "  a b \n\n", recipe.Text{Equals: match("a b"), Contains: match(" a b "), Normalize: norm("trim")}, ""},
		{"replace", "took 15ms at 12:31", recipe.Text{Equals: match("took 7ms at 00:00"), Normalize: norm(`\d+ms -> N`, `(\d\d):\d\d -> $1:00`, `\d\d:00 -> T`)}, ""},
		{"what is put in has no groups", "TBD", recipe.Text{Equals: match("$1 and $$"), Normalize: []recipe.Normalize{
			{Kind: "replace", Replace: expr.Literal("TBD"), With: template(t, `${{ "$1 and $$" }}`), Pos: at}}}, ""},
		{"a group that is not there", "TBD", recipe.Text{Equals: match("x"), Normalize: []recipe.Normalize{
			{Kind: "replace", Replace: template(t, `${{ "TBD" }}`), With: expr.Literal("$1"), Pos: at}}},
			`stdout.normalize: stdout cannot be normalised: normalize in line 7: replace has no group "1": write $$ for a dollar, and ${1} where letters or digits follow`},
		{"in order", "ab", recipe.Text{Equals: match("c"), Normalize: norm("a -> b", "bb -> c")}, ""},
		{"normalise contains", "took 15ms", recipe.Text{Contains: match("took 3ms"), NotContains: match("15ms!"), Normalize: norm(`\d+ms -> N`)}, ""},
		{"bad replace", "a", recipe.Text{Equals: match("a"), Normalize: norm(`( -> x`)},
			"stdout.normalize: stdout cannot be normalised: normalize in line 7: error parsing regexp: missing closing ): `(`"},
		{"contains", "one\ntwo\nthree\n", recipe.Text{Contains: match("two", "one\ntwo", "")}, ""},
		{"does not contain", "one\n", recipe.Text{Contains: match("two")}, `stdout.contains: stdout does not contain "two"; it is "one\n"`},
		{"empty does not contain", "", recipe.Text{Contains: match("two")}, `stdout.contains: stdout does not contain "two"; it is empty`},
		{"contains what it should not", "one\ntwo\nthree\n", recipe.Text{NotContains: match("w")}, `stdout.not_contains: stdout contains "w" in line 2: "two"`},
		{"matches", "one\ntwo\n", recipe.Text{Matches: match(`^one`, `(?m)^two$`, `w.\n`)}, ""},
		{"is not anchored by line", "one\ntwo\n", recipe.Text{Matches: match(`^two$`)}, `stdout.matches: stdout does not match /^two$/; it is "one\ntwo\n" (with (?m) before it, it would: ^ and $ are then the ends of lines)`},
		{"matches what it should not", "one\ntwo\n", recipe.Text{NotMatches: match(`t.o`)}, `stdout.not_matches: stdout matches /t.o/: "two"`},
		{"matches bytes", "a\xffb", recipe.Text{Matches: match(`a.b`)}, ""},
		{"bad expression", "x", recipe.Text{Matches: match(`(`)}, "stdout.matches: error parsing regexp: missing closing ): `(`"},
		{"binary", "a\x00b", recipe.Text{Equals: match("a\x00c")},
			`stdout.equals: stdout is not the expected text: want 3 bytes, got 3 bytes, first difference at byte 2 (0x2)`},
		{"not UTF-8", "caf\xe9", recipe.Text{Equals: match("café")},
			`stdout.equals: stdout is not the expected text: want 5 bytes, got 4 bytes, first difference at byte 3 (0x3)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.text.Pos = at
			r := step(t, recipe.Expect{Stdout: &tt.text}, Outcome{Stdout: Bytes([]byte(tt.got))})
			if d := cmp.Diff(tt.want, messages(r)); d != "" {
				t.Error(d)
			}
			for _, f := range r.Findings {
				if f.Line != at.Line {
					t.Errorf("%s: line %d, want %d", f.Expect, f.Line, at.Line)
				}
			}
			// The same text as a long stream is judged alike.
			if same := step(t, recipe.Expect{Stdout: &tt.text}, Outcome{Stdout: slow{Bytes([]byte(tt.got))}}); messages(same) != messages(r) {
				t.Errorf("read in pieces: %s", messages(same))
			}
		})
	}
}

// What to compare with may use the case.
func TestTextTemplates(t *testing.T) {
	text := &recipe.Text{Contains: []recipe.Match{{Text: template(t, "${{ case.word }}!"), Pos: at}, {Text: template(t, "${{ case.list[9] }}"), Pos: at}}}
	env := expr.Env{"case": map[string]any{"word": "hello", "list": []any{1}}}
	r, err := Step(t.Context(), &recipe.Step{Expect: recipe.Expect{Stdout: text}}, t.TempDir(), Outcome{Stdout: Bytes([]byte("hello!"))}, env, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Findings) != 1 || !strings.HasPrefix(r.Findings[0].Message, "what to compare with cannot be evaluated: ") {
		t.Error(messages(r))
	}
}

func TestDiff(t *testing.T) {
	long := strings.Repeat("x", 1000)
	var many, other strings.Builder
	for i := range 30_000 {
		fmt.Fprintf(&many, "line %d\n", i)
		if i == 20_000 {
			other.WriteString("something else\n")
		}
		fmt.Fprintf(&other, "line %d\n", i)
	}
	tests := []struct{ name, want, got, diff string }{
		{"text", "a\nb\nc\n", "a\nB\nc\n", "--- want\n+++ got\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n"},
		{"control characters", "a\n", "\x1b[1ma\u202e\r\n", "--- want\n+++ got\n@@ -1 +1 @@\n-a\n+␛[1ma\uFFFD␍\n"},
		{"final newline", "a\n", "a", "--- want\n+++ got\n@@ -1 +1 @@\n-a\n+a\n\\ No newline at end of file\n"},
		{"long lines", long + "\n", long + "y\n", "--- want\n+++ got\n@@ -1 +1 @@\n-" + long[:199] + " ...(702 bytes)... " + long[:99] + "\n+" + long[:199] + " ...(703 bytes)... " + long[:98] + "y\n"},
		{"long text", many.String(), other.String(), "--- want\n+++ got\n@@ -19998,6 +19998,7 @@\n line 19997\n line 19998\n line 19999\n+something else\n line 20000\n line 20001\n line 20002\n"},
		{"binary", "0123456789abcdef0123456789abcdef\x00want", "0123456789abcdef0123456789abcdef\x00got",
			"--- want\n- 00000010  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  |0123456789abcdef|\n- 00000020  00 77 61 6e 74                                   |.want|\n" +
				"+++ got\n+ 00000010  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  |0123456789abcdef|\n+ 00000020  00 67 6f 74                                      |.got|\n"},
		{"binary, cut short", strings.Repeat("\x01\x00", 24), strings.Repeat("\x01\x00", 8), "--- want\n" +
			"- 00000000  01 00 01 00 01 00 01 00 01 00 01 00 01 00 01 00  |................|\n- 00000010  01 00 01 00 01 00 01 00 01 00 01 00 01 00 01 00  |................|\n- 00000020  01 00 01 00 01 00 01 00 01 00 01 00 01 00 01 00  |................|\n" +
			"+++ got\n+ 00000000  01 00 01 00 01 00 01 00 01 00 01 00 01 00 01 00  |................|\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, "want"), tt.want)
			s := &recipe.Step{Expect: recipe.Expect{Stdout: &recipe.Text{Golden: match("want"), Pos: at}}}
			r, err := Step(t.Context(), s, dir, Outcome{Stdout: Bytes([]byte(tt.got))}, nil, false)
			if err != nil {
				t.Fatal(err)
			}
			if r.Reason != event.ReasonAssertion || len(r.Findings) != 1 {
				t.Fatalf("%s: %s", r.Reason, messages(r))
			}
			got := strings.TrimSuffix(r.Findings[0].Diff, "... the texts are long: this is around the first difference\n")
			if d := cmp.Diff(tt.diff, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// A diff is bounded however much differs.
func TestDiffBounded(t *testing.T) {
	var want, got strings.Builder
	for i := range 8000 {
		fmt.Fprintf(&want, "want %d\n", i)
		fmt.Fprintf(&got, "got %d\n", i)
	}
	r := step(t, recipe.Expect{Stdout: &recipe.Text{Equals: match(want.String())}}, Outcome{Stdout: Bytes([]byte(got.String()))})
	diff := r.Findings[0].Diff
	if n := strings.Count(diff, "\n"); n != diffLines+1 || !strings.HasSuffix(diff, "more lines of the diff are not shown\n") {
		t.Errorf("%d lines, ending with %q", n, diff[len(diff)-80:])
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
