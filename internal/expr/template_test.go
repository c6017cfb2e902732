package expr

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTemplate(t *testing.T) {
	tests := []struct {
		source string
		text   string
		words  []string // nil: one word, the text
	}{
		{``, "", nil},
		{`plain $HOME ${X} $$ {{ }}`, "plain $HOME ${X} $$ {{ }}", nil},
		{`a${{ case.n }}b`, "a3b", nil},
		{`${{case.text}}`, "häuser", nil},
		{`${{ case.list }}`, `["a","b c",3]`, []string{"a", "b c", "3"}},
		{`x ${{ case.list }}`, `x ["a","b c",3]`, nil},
		{`${{ [] }}`, `[]`, []string{}},
		{`${{ case.map }}`, `{"a":[1],"b":2}`, nil},
		{`<${{ case.none }}>`, "<>", nil},
		{`${{ exit == 0 }} ${{ 1e6 }} ${{ 0.1 + 0.2 }} ${{ 1e21 }} ${{ -0.5 }} ${{ case.big }}`,
			"true 1000000 0.30000000000000004 1000000000000000000000 -0.5 18446744073709551615", nil},
		{`$${{ case.n }}`, "${{ case.n }}", nil},
		{`$$${{ case.n }}`, "$${{ case.n }}", nil},
		{`$${{ ${{ case.n }} }}`, "${{ 3 }}", nil},
		{`${{ "}}" }}${{ '}}' }}` + "${{ `}}` }}", "}}}}}}", nil},
		{`${{ {"a": {"b": "x"}}.a.b }}}}`, "x}}", nil},
		{`${{ "a\"}}" }}`, `a"}}`, nil},
		{`${{ ["<&>"] }}`, `["<&>"]`, []string{"<&>"}},
		{`${{ raw("a b") }}`, "a b", nil},
	}
	for _, tt := range tests {
		tmpl, err := Parse(tt.source, known.Outcome())
		if err != nil {
			t.Errorf("%s: %v", tt.source, err)
			continue
		}
		if got, err := tmpl.Text(sample()); got != tt.text || err != nil {
			t.Errorf("text of %s is %q, %v, want %q", tt.source, got, err, tt.text)
		}
		words := tt.words
		if words == nil {
			words = []string{tt.text}
		}
		if got, err := tmpl.Words(sample()); !slices.Equal(got, words) || err != nil {
			t.Errorf("words of %s are %q, %v, want %q", tt.source, got, err, words)
		}
		if tmpl.Source() != tt.source {
			t.Errorf("the source of %s is %s", tt.source, tmpl.Source())
		}
	}
}

func TestTemplateErrors(t *testing.T) {
	tests := []struct {
		source string
		offset int
		want   string
	}{
		{`ab ${{ case.n`, 3, `"${{" without "}}"`},
		{`${{ case.n }`, 0, `"${{" without "}}"`},
		{`é ${{ case.m }}`, 12, "unknown name case.m"},
		{`${{ 1 }} ${{ "a }}`, 18 - 4, "literal not terminated"},
		{`${{ }}`, 3, "empty"},
		{`${{ x }} ${{ y }}`, 4, "unknown name x"},
	}
	for _, tt := range tests {
		_, err := Parse(tt.source, known.Step())
		var wrong *Error
		if !errors.As(err, &wrong) || !strings.Contains(wrong.Message, tt.want) {
			t.Errorf("%s: error is %v, want %s", tt.source, err, tt.want)
		} else if wrong.Offset != tt.offset && tt.want != "literal not terminated" {
			t.Errorf("%s: at %d, want %d", tt.source, wrong.Offset, tt.offset)
		}
	}
	tmpl, err := Parse(`a ${{ case.none.x }}`, known.Step())
	if err != nil {
		t.Fatal(err)
	}
	var eval *EvalError
	if _, err := tmpl.Text(sample()); !errors.As(err, &eval) || err.Error() != `case.none.x: null has no field "x"` {
		t.Errorf("error is %v", err)
	}
}

func TestLiteral(t *testing.T) {
	l := Literal("a ${{ b }} $${{")
	if got, err := l.Text(nil); got != "a ${{ b }} $${{" || err != nil || !l.IsLiteral() || l.Uses("b") {
		t.Errorf("got %q, %v", got, err)
	}
	if p, err := Parse(`$${{ x`, nil); err != nil || !p.IsLiteral() {
		t.Errorf("an escape alone is no literal: %v", err)
	}
	p, err := Parse(`a${{ case.n }}`, known.Step())
	if err != nil || p.IsLiteral() || !p.Uses("case", "n") || p.Uses("run") {
		t.Errorf("uses of a template are wrong: %v", err)
	}
}

func TestValue(t *testing.T) {
	source := map[string]any{
		"a": []any{1, "x${{ case.n }}", "${{ case.list }}", map[string]any{"k": "${{ vars.level }}"}}, "b": "$${{", "c": nil, "d": 2.5,
	}
	v, err := ParseValue(source, known.Step())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"a": []any{1, "x3", []any{"a", "b c", 3}, map[string]any{"k": 2}}, "b": "${{", "c": nil, "d": 2.5}
	got, err := v.Eval(sample())
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if v.IsLiteral() || !v.Uses("vars", "level") || v.Uses("run") {
		t.Error("uses of a value are wrong")
	}
	data, err := json.Marshal(v)
	if err != nil || !strings.Contains(string(data), `"x${{ case.n }}"`) {
		t.Errorf("JSON is %s, %v", data, err)
	}
	if got, err := LiteralValue("${{ x }}").Eval(nil); got != "${{ x }}" || err != nil {
		t.Errorf("a literal is %v, %v", got, err)
	}

	_, err = ParseValue(map[string]any{"a": []any{"ok", map[string]any{"k": "x ${{ cas.n }}"}}}, known.Step())
	var wrong *Error
	if !errors.As(err, &wrong) || !cmp.Equal(wrong.Path, []any{"a", 1, "k"}) || wrong.Offset != 6 {
		t.Errorf("error is %#v", err)
	}
}

func TestTextOf(t *testing.T) {
	tests := []struct {
		value any
		want  string
	}{
		{nil, ""}, {"a\x00", "a\x00"}, {true, "true"}, {3, "3"}, {int64(-4), "-4"}, {uint8(5), "5"}, {3.0, "3"}, {1e-7, "0.0000001"},
		{float32(0.5), "0.5"}, {json.Number("1.50"), "1.50"}, {[]any{}, "[]"}, {[]string{"a<b"}, `["a<b"]`}, {[]int{1, 2}, "[1,2]"},
		{map[any]any{1: []any{nil, 1e6}}, `{"1":[null,1000000]}`}, {time.Minute, "1m0s"},
		{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "2026-01-02T03:04:05Z"},
	}
	for _, tt := range tests {
		if got, err := TextOf(tt.value); got != tt.want || err != nil {
			t.Errorf("%#v is %q, %v, want %q", tt.value, got, err, tt.want)
		}
	}
	for _, v := range []any{func() {}, struct{}{}, []any{make(chan int)}} {
		if got, err := TextOf(v); err == nil {
			t.Errorf("%T is %q", v, got)
		}
	}
}

func TestEqual(t *testing.T) {
	equal := func(a, b any) bool {
		eq, err := new(run).equal(a, b)
		if err != nil {
			t.Error(err)
		}
		return eq
	}
	same := [][2]any{
		{3, 3.0}, {int64(3), uint8(3)}, {uint64(1 << 63), float64(1 << 63)}, {[]any{1, "a"}, []any{1.0, "a"}}, {[]int{1}, []any{1}},
		{map[string]any{"a": 1}, map[string]any{"a": 1.0}}, {map[any]any{1: 2}, map[string]any{"1": 2}}, {nil, nil}, {[]any(nil), []any{}},
	}
	for _, p := range same {
		if !equal(p[0], p[1]) || !equal(p[1], p[0]) {
			t.Errorf("%#v and %#v differ", p[0], p[1])
		}
	}
	differ := [][2]any{
		{3, "3"}, {3, nil}, {0, false}, {"", nil}, {1<<53 + 1, 1 << 53}, {-1, uint64(1<<64 - 1)}, {[]any{1}, []any{1, 2}}, {[]any{}, nil},
		{map[string]any{"a": nil}, map[string]any{"b": nil}}, {map[string]any{}, []any{}}, {time.Second, 1000000000},
	}
	for _, p := range differ {
		if equal(p[0], p[1]) || equal(p[1], p[0]) {
			t.Errorf("%#v and %#v are equal", p[0], p[1])
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`a ${{ case.n }} $${{ b`, `${{ map(1..3, #) }}`, `${{ "}}" `, `${{ a?.b[c] ?: {d: 1} }}`, "${{ let x = 1; x }}", "${{ 'é' + `a``b` }}"} {
		f.Add(s)
	}
	scope := Known{CaseOpen: true, Vars: []string{"a"}}.Row()
	env := Env{"case": map[string]any{"n": 1, "list": []any{"x"}}, "vars": map[string]any{"a": "y"}}
	f.Fuzz(func(t *testing.T, s string) {
		tmpl, err := Parse(s, scope)
		if err != nil {
			var wrong *Error
			if !errors.As(err, &wrong) || wrong.Offset < 0 || wrong.Offset > len(s) || wrong.Message == "" {
				t.Fatalf("%q: error is %#v", s, err)
			}
			return
		}
		workers := workBudget
		workBudget = 10_000_000
		defer func() { workBudget = workers }()
		var eval *EvalError
		if _, err := tmpl.Text(env); err != nil && !errors.As(err, &eval) {
			t.Fatalf("%q: error is %#v", s, err)
		}
		if tmpl.Source() != s {
			t.Fatalf("the source of %q is %q", s, tmpl.Source())
		}
	})
}

func FuzzLiteral(f *testing.F) {
	f.Add("a ${{ b }} $${{ $$${{")
	f.Fuzz(func(t *testing.T, s string) {
		l := Literal(s)
		if got, err := l.Text(nil); got != s || err != nil {
			t.Fatalf("%q became %q, %v", s, got, err)
		}
		if again, err := Parse(l.Source(), nil); err != nil {
			t.Fatalf("the source of %q: %v", s, err)
		} else if got, err := again.Text(nil); got != s || err != nil {
			t.Fatalf("the source of %q became %q, %v", s, got, err)
		}
	})
}
