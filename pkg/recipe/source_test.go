package recipe

import (
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// Each text has a marker in a scalar: its place in the value must lead to its place in the text.
func TestWithin(t *testing.T) {
	texts := map[string]string{
		"plain":              "a: some text @ here",
		"plain lines":        "a: some\n  text\n\n  more @ here",
		"anchor":             "a: &x z@",
		"anchor and tag":     "a: &x !!str   z@",
		"tag on its line":    "a: !!str\n  z@ text",
		"single":             "a: 'it''s, isn''t @'",
		"single lines":       "a: 'one\n  two\n\n  ''three @'",
		"double":             `a: "\t\x41\u00e9\U0001F600 \"quoted\" \\ @"`,
		"double escaped end": "a: \"one \\\n   two @\"",
		"double hex space":   `a: "x\x20y\x0a@"`,
		"literal":            "a: |\n  one\n    two @\n",
		"literal indicator":  "a: |2-  # comment\n    two\n\n   three €€ !@",
		"folded":             "a: >\n  one\n  two\n\n    three\n  é @\n",
		"windows":            "a: |\r\n  one\r\n  two @\r\n",
		"flow":               "a: [x, {b: 'y @'}]",
		"wide":               "a: 日本 @ 語",
		"key":                "? x\n: y @",
		"line separator":     "b: \"x\u2028y\"\na: z @",
	}
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			var root yaml.Node
			if err := yaml.Unmarshal([]byte(text), &root); err != nil {
				t.Fatal(err)
			}
			src := newSource(text)
			found := false
			visit(&root, func(n *yaml.Node) {
				at := strings.IndexByte(n.Value, '@')
				if n.Kind != yaml.ScalarNode || at < 0 {
					return
				}
				found = true
				want := src.pos(strings.IndexByte(text, '@'))
				if got := src.within(n, at); got != want {
					t.Errorf("got %v, want %v", got, want)
				}
			})
			if !found {
				t.Error("no marker in a scalar")
			}
		})
	}
}

func visit(n *yaml.Node, f func(*yaml.Node)) {
	f(n)
	for _, c := range n.Content {
		visit(c, f)
	}
}

// The place of white space is counted from what stands before it, the end is after the last character.
func TestWithinBlanks(t *testing.T) {
	text := "a: |\n  one two   three\n  four\n"
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(text), &root); err != nil {
		t.Fatal(err)
	}
	n, src := root.Content[0].Content[1], newSource(text)
	for offset, want := range map[int]Pos{
		0: {Line: 2, Column: 3}, 3: {Line: 2, Column: 6}, 9: {Line: 2, Column: 12}, 15: {Line: 2, Column: 18},
		16: {Line: 3, Column: 3}, len(n.Value): {Line: 3, Column: 7}, 1000: {Line: 3, Column: 7},
	} {
		if got := src.within(n, offset); got != want {
			t.Errorf("offset %d: got %v, want %v", offset, got, want)
		}
	}
}
