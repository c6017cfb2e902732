package check

import (
	"bytes"
	"encoding/json"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

func TestJSON(t *testing.T) {
	type object = map[string]any
	type array = []any
	tests := []struct {
		name string
		want any
		got  string
		msg  string // after "stdout.json: "; empty: it holds
	}{
		{"object", object{"a": 1, "b": array{true, nil, "x"}}, ` {"b": [true, null, "x"], "a": 1} ` + "\n", ""},
		{"list is a value", array{1, 2}, "[1,2]", ""},
		{"numbers by value", array{1, 1.0, 100, 0.1, 1e3, 0}, "[1.0, 1, 1e2, 0.10000000000000001, 1000, -0.0]", ""},
		{"long integers exactly", 9007199254740993, "9007199254740992", "stdout is not the expected JSON: the value: want 9007199254740993, got 9007199254740992"},
		{"longer than an int", uint64(18446744073709551615), "18446744073709551615", ""},
		{"beyond float64", 1.5, "1e999", "stdout is not the expected JSON: the value: want 1.5, got 1e999"},
		{"nested", object{"items": array{object{"name": "a"}, object{"name": "b"}}}, `{"items": [{"name": "a"}, {"name": "c"}]}`,
			`stdout is not the expected JSON: .items[1].name: want "b", got "c"`},
		{"type", object{"n": 3}, `{"n": "3"}`, `stdout is not the expected JSON: .n: want 3 (a number), got "3" (a string)`},
		{"null", object{"n": 3}, `{"n": null}`, `stdout is not the expected JSON: .n: want 3 (a number), got null (null)`},
		{"object for list", array{}, `{}`, `stdout is not the expected JSON: the value: want [] (a list), got {} (an object)`},
		{"text for object", "x", `{}`, `stdout is not the expected JSON: the value: want "x" (a string), got {} (an object)`},
		{"missing key", object{"a b": 1}, `{}`, `stdout is not the expected JSON: ["a b"]: want 1, got no such key`},
		{"more keys", object{}, `{"x": {"y": 1}}`, `stdout is not the expected JSON: .x: want no such key, got {"y":1}`},
		{"first of several", object{"a": 1, "b": 2, "c": 3}, `{"c": 0, "b": 0, "a": 1}`, `stdout is not the expected JSON: .b: want 2, got 0`},
		{"length", array{1, 2}, `[1, 2, 3]`, `stdout is not the expected JSON: the value: want 2 elements, got 3`},
		{"not JSON", 1, "{\n  oops\n}", `stdout is not JSON: invalid character 'o' looking for beginning of object key string, in line 2; it is "{\n  oops\n}"`},
		{"cut short", 1, "{\n\"a\": [1,", `stdout is not JSON: it ends within a value, in line 2; it is "{\n\"a\": [1,"`},
		{"nothing", 1, "\n", `stdout is not JSON: there is no value; it is "\n"`},
		{"two values", 1, "1\n\n2\n", `stdout is not JSON: more follows the first value, in line 3; it is "1\n\n2\n"`},
		{"HTML is not escaped", "<b>", `"<a>"`, `stdout is not the expected JSON: the value: want "<b>", got "<a>"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := &recipe.Text{JSON: expr.LiteralValue(tt.want), JSONPos: at}
			r := step(t, recipe.Expect{Stdout: text}, Outcome{Stdout: Bytes([]byte(tt.got))})
			want := tt.msg
			if want != "" {
				want = "stdout.json: " + want
			}
			if d := cmp.Diff(want, messages(r)); d != "" {
				t.Error(d)
			}
		})
	}
}

// The texts of both sides are normalised.
func TestJSONNormalized(t *testing.T) {
	text := &recipe.Text{JSON: expr.LiteralValue(map[string]any{"a": " x ", "b": []any{"y"}}), JSONPos: at, Normalize: []recipe.Normalize{{Kind: "trim"}}}
	if d := cmp.Diff("", messages(step(t, recipe.Expect{Stdout: text}, Outcome{Stdout: Bytes([]byte(`{"a": " x ", "b": ["y\n"]}`))}))); d != "" {
		t.Error(d)
	}
}

func TestJSONDiff(t *testing.T) {
	text := &recipe.Text{JSON: expr.LiteralValue(map[string]any{"a": 1, "b": []any{1, 2}}), JSONPos: at}
	r := step(t, recipe.Expect{Stdout: text}, Outcome{Stdout: Bytes([]byte(`{"b":[1.0,3],"a":1}`))})
	want := "--- want\n+++ got\n@@ -2,6 +2,6 @@\n   \"a\": 1,\n   \"b\": [\n     1,\n-    2\n+    3\n   ]\n }\n"
	if d := cmp.Diff(want, r.Findings[0].Diff); d != "" {
		t.Error(d)
	}
}

// Both sides are normalised: what came as text, the expected value in its texts.
func TestJSONNormalize(t *testing.T) {
	text := &recipe.Text{
		JSON:      expr.LiteralValue(map[string]any{"id": "run-1", "at": 0}),
		Normalize: []recipe.Normalize{{Kind: "ansi"}, {Kind: "replace", Replace: expr.Literal(`run-\d+`), With: expr.Literal("run-N")}, {Kind: "replace", Replace: expr.Literal(`"at": \d+`), With: expr.Literal(`"at": 0`)}},
	}
	if r := step(t, recipe.Expect{Stdout: text}, Outcome{Stdout: Bytes([]byte("\x1b[1m{\"id\": \"run-77\", \"at\": 1234}\x1b[0m\n"))}); r.Reason != "" {
		t.Error(messages(r))
	}
}

// Nesting that would exhaust a stack is refused by the decoder.
func TestJSONDeep(t *testing.T) {
	text := &recipe.Text{JSON: expr.LiteralValue(1), JSONPos: at}
	r := step(t, recipe.Expect{Stdout: text}, Outcome{Stdout: Bytes([]byte(strings.Repeat("[", 1<<20)))})
	if !strings.Contains(messages(r), "exceeded max depth") {
		t.Error(messages(r))
	}
}

// JSON that is small as text and large in memory, or in lines, is refused or shown without that memory.
func TestJSONLarge(t *testing.T) {
	deep := func(levels, elements int) string {
		return strings.Repeat("[", levels) + strings.Repeat("0,", elements) + "0" + strings.Repeat("]", levels)
	}
	long := strings.Repeat("long ", 1<<20)
	tests := []struct {
		name      string
		want      any
		got, text string // what the message has
		most      uint64 // MiB allocated
	}{
		{"deep", 1, deep(9990, 20000), "stdout cannot be read as JSON: it is nested deeper than 500 levels; it is ", 2},
		{"a little too deep", 1, deep(501, 0), "stdout cannot be read as JSON: it is nested deeper than 500 levels", 1},
		{"deep enough", 1, deep(500, 20000), "stdout is not the expected JSON: the value: want 1 (a number), got [[[[", 8},
		{"many objects", 1, "[" + strings.Repeat(`{"a":1},`, 1<<20) + "0]", "stdout cannot be read as JSON: it needs more than 256 MiB of memory", 64},
		{"not JSON after all", 1, deep(501, 0) + "]", "stdout is not JSON: more follows the first value, in line 1", 1},
		{"text is no structure", 1, `"` + strings.Repeat(`[{\"`, 1<<20) + `"`, `the value: want 1 (a number), got "[{\"[{\"`, 64},
		{"a long text", []any{"x"}, `["` + long + `"]`, `[0]: want "x", got "long long `, 64},
		{"a long number", []any{1}, `[` + strings.Repeat("7", 1<<20) + `]`, `[0]: want 1, got 7777`, 16},
		{"a long key", map[string]any{}, `{"` + long + `": 1}`, `["long long `, 64},
		{"a long path", map[string]any{long: make([]any, 5000)}, `{"` + long + `": [` + strings.Repeat("null,", 4999) + "1]}", `long "...][4999]: want null (null), got 1 (a number)`, 128},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := &recipe.Text{JSON: expr.LiteralValue(tt.want), JSONPos: at}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r := step(t, recipe.Expect{Stdout: text}, Outcome{Stdout: Bytes([]byte(tt.got))})
			runtime.ReadMemStats(&after)
			if m := messages(r); !strings.Contains(m, tt.text) || len(m) > 1000 {
				t.Errorf("got %.1000s\nwant %s", m, tt.text)
			}
			if made := (after.TotalAlloc - before.TotalAlloc) >> 20; made > 2*tt.most { // twice: the race detector takes some too
				t.Errorf("%d MiB were allocated", made)
			}
		})
	}
}

// encodeJSON writes what encoding/json does, up to where it stops.
func TestEncodeJSON(t *testing.T) {
	for _, text := range []string{
		"null", "true", "-1.5e+300", `"<é\u2028\ud800\n>"`, "[]", "{}", "[[],{},[[]]]", `{"b": [1, "x", null], "a": {"é\"": {}, "": false}}`,
	} {
		v, err := decodeJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, indent := range []string{"", "  "} {
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			e.SetIndent("", indent)
			if err := e.Encode(v); err != nil {
				t.Fatal(err)
			}
			want := strings.TrimSuffix(b.String(), "\n")
			if d := cmp.Diff(want, string(encodeJSON(v, indent, math.MaxInt))); d != "" {
				t.Error(d)
			}
			for most := range len(want) {
				got := string(encodeJSON(v, indent, most))
				if len(got) <= most || got[:most] != want[:most] {
					t.Errorf("up to %d of %q it is %q", most, want, got)
				}
			}
		}
	}
}
