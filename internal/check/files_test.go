package check

import (
	"context"
	"io/fs"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

func TestFiles(t *testing.T) {
	yes, no := expr.LiteralValue(true), expr.LiteralValue(false)
	sandbox := map[string]Fetched{
		"out.txt":  {Content: Bytes([]byte("hello\n"))},
		"dir":      {Type: fs.ModeDir},
		"link":     {Type: fs.ModeSymlink},
		"pipe":     {Type: fs.ModeNamedPipe},
		"empty":    {Content: Bytes(nil)},
		"/abs.bin": {Content: Bytes([]byte{0, 1})},
	}
	path := func(p string, f recipe.FileExpect) recipe.FileExpect {
		f.Path, f.Pos = expr.Literal(p), at
		return f
	}
	const digest = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
	tests := []struct {
		name   string
		expect recipe.FileExpect
		want   string
	}{
		{"exists", path("out.txt", recipe.FileExpect{Exists: yes}), ""},
		{"nothing said", path("out.txt", recipe.FileExpect{}), ""},
		{"folder exists", path("dir", recipe.FileExpect{Exists: yes}), ""},
		{"does not exist", path("gone", recipe.FileExpect{Exists: yes}), `files["gone"].exists: "gone" does not exist`},
		{"is expected by its content", path("gone", recipe.FileExpect{Text: &recipe.Text{Equals: match("x")}}), `files["gone"].exists: "gone" does not exist`},
		{"should not exist", path("gone", recipe.FileExpect{Exists: no}), ""},
		{"should not exist, but does", path("out.txt", recipe.FileExpect{Exists: no}), `files["out.txt"].exists: "out.txt" exists (6 bytes) and should not`},
		{"folder should not exist", path("dir", recipe.FileExpect{Exists: no}), `files["dir"].exists: "dir" exists (a folder) and should not`},
		{"equals", path("out.txt", recipe.FileExpect{Text: &recipe.Text{Equals: match("hello")}}), ""},
		{"absolute", path("/abs.bin", recipe.FileExpect{Size: expr.LiteralValue(2)}), ""},
		{"contains", path("out.txt", recipe.FileExpect{Text: &recipe.Text{Contains: match("bye")}}),
			`files["out.txt"].contains: "out.txt" does not contain "bye"; it is "hello\n"`},
		{"size", path("out.txt", recipe.FileExpect{Size: expr.LiteralValue("6")}), ""},
		{"other size", path("out.txt", recipe.FileExpect{Size: expr.LiteralValue(7)}), `files["out.txt"].size: "out.txt" has 6 bytes, want 7`},
		{"no size", path("out.txt", recipe.FileExpect{Size: expr.LiteralValue("big")}),
			`files["out.txt"].size: the expected size cannot be told: "big" is not a whole number`},
		{"sha256", path("out.txt", recipe.FileExpect{SHA256: expr.Literal(digest)}), ""},
		{"other sha256", path("empty", recipe.FileExpect{SHA256: expr.Literal(digest)}),
			`files["empty"].sha256: "empty" has the SHA-256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855, want ` + digest},
		{"content of a folder", path("dir", recipe.FileExpect{Text: &recipe.Text{Equals: match("x")}}), `files["dir"]: "dir" is a folder and not a regular file`},
		{"content of a link", path("link", recipe.FileExpect{Size: expr.LiteralValue(1)}), `files["link"]: "link" is a symbolic link and not a regular file`},
		{"content of a FIFO", path("pipe", recipe.FileExpect{SHA256: expr.Literal(digest)}), `files["pipe"]: "pipe" is a FIFO and not a regular file`},
		{"all findings", path("out.txt", recipe.FileExpect{Size: expr.LiteralValue(1), Text: &recipe.Text{Equals: match("x")}}),
			`files["out.txt"].size: "out.txt" has 6 bytes, want 1` + "\n" +
				`files["out.txt"].equals: "out.txt" is not the expected text: the first difference is in line 1, column 1: want "x", got "hello"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fetch := func(_ context.Context, paths []string) (map[string]Fetched, error) {
				got := map[string]Fetched{}
				for _, p := range paths {
					if f, ok := sandbox[p]; ok {
						got[p] = f
					}
				}
				return got, nil
			}
			r := step(t, recipe.Expect{Files: []recipe.FileExpect{tt.expect}}, Outcome{Fetch: fetch})
			if d := cmp.Diff(tt.want, messages(r)); d != "" {
				t.Error(d)
			}
		})
	}
}

// All files of a step come out of the sandbox at once.
func TestFilesFetchedOnce(t *testing.T) {
	var calls [][]string
	fetch := func(_ context.Context, paths []string) (map[string]Fetched, error) {
		calls = append(calls, slices.Clone(paths))
		return map[string]Fetched{"a": {Content: Bytes(nil)}, "b": {Content: Bytes(nil)}}, nil
	}
	var files []recipe.FileExpect
	for _, p := range []string{"a", "b", "a"} {
		files = append(files, recipe.FileExpect{Path: expr.Literal(p), Pos: at})
	}
	if r := step(t, recipe.Expect{Files: files}, Outcome{Fetch: fetch}); r.Reason != "" {
		t.Error(messages(r))
	}
	if d := cmp.Diff([][]string{{"a", "b"}}, calls); d != "" {
		t.Error(d)
	}
}
