package check

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// Comparing agrees with comparing bytes, and what it shows is bounded and valid.
func FuzzCompare(f *testing.F) {
	f.Add([]byte("a\nb\n"), []byte("a\nc\n"))
	f.Add([]byte("a\n\n"), []byte("a"))
	f.Add([]byte("caf\xc3"), []byte("caf\xc3\xa9"))
	f.Add([]byte{0, 1, 2}, []byte{0, 1, 3})
	f.Fuzz(func(t *testing.T, want, got []byte) {
		c := &checker{ctx: t.Context()}
		for _, tt := range []struct {
			want, got Source
			same      bool
		}{
			{Bytes(want), Bytes(got), bytes.Equal(want, got)},
			{slow{Bytes(want)}, slow{Bytes(got)}, bytes.Equal(want, got)},
			{withoutFinalNewlines{Bytes(want)}, withoutFinalNewlines{slow{Bytes(got)}},
				bytes.Equal(bytes.TrimRight(want, "\n"), bytes.TrimRight(got, "\n"))},
		} {
			d, err := c.compare(tt.want, tt.got)
			if err != nil {
				t.Fatal(err)
			}
			if (d == nil) != tt.same {
				t.Fatalf("%q and %q: same is %v, want %v", want, got, d == nil, tt.same)
			}
			if d == nil {
				continue
			}
			if d.diff == "" || !utf8.ValidString(d.diff) || !utf8.ValidString(d.text) || len(d.text) > 1000 || strings.ContainsAny(d.diff+d.text, "\x1b\x00\r") {
				t.Fatalf("%q %q", d.text, d.diff)
			}
		}
	})
}

// Normalising what is normalised changes nothing more, and contains agrees with it.
func FuzzNormalize(f *testing.F) {
	f.Add([]byte("\x1b[1mx\x1b[0m\r\n"))
	f.Add([]byte("\xc3\x1b]8;;x\x07 "))
	f.Add([]byte(" \r\r\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, kind := range []string{"trim", "ansi"} {
			n, err := newNormalizer([]recipe.Normalize{{Kind: kind}}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			once, err := n.apply(t.Context(), bytes.Clone(text))
			if err != nil {
				t.Fatal(err)
			}
			if twice, err := n.apply(t.Context(), bytes.Clone(once)); err != nil || !bytes.Equal(once, twice) {
				t.Fatalf("%s: %q becomes %q and then %q, %v", kind, text, once, twice, err)
			}
			if len(once) > utf8.UTFMax*len(text) {
				t.Fatalf("%s: %q grows to %q", kind, text, once)
			}
		}
		// A text equals itself under every normalisation, as a stream and as what is expected.
		expect := &recipe.Text{
			Equals: []recipe.Match{{Text: expr.Literal(string(text))}}, Contains: []recipe.Match{{Text: expr.Literal(string(text))}},
			Normalize: []recipe.Normalize{{Kind: "ansi"}, {Kind: "crlf"}, {Kind: "trim"}, {Kind: "replace", Replace: expr.Literal(`\d+`), With: expr.Literal("N")}},
		}
		r, err := Step(t.Context(), &recipe.Step{Expect: recipe.Expect{Stdout: expect}}, "", Outcome{Stdout: slow{Bytes(text)}}, nil, false)
		if err != nil || r.Reason != "" {
			t.Fatal(err, messages(r))
		}
	})
}

// No output makes the JSON check panic, and a value equals itself.
func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a": [1, 1.0, "x", null, true]}`))
	f.Add([]byte("1 2"))
	f.Add([]byte("-0.0e-0"))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := decodeJSON(text)
		if err != nil {
			return
		}
		b, err := decodeJSON(encodeJSON(a, " ", math.MaxInt))
		if err != nil {
			t.Fatal(err)
		}
		if at, difference := differJSON(a, b); difference != "" {
			t.Fatalf("%q: %s %s", text, at, difference)
		}
	})
}
