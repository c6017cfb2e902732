package check

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// What needs no whole text takes no memory for it: everything that is allocated in a check of 100 MB is counted.
func TestLargeTexts(t *testing.T) {
	const huge = 100 << 20
	same, changed := textLines{huge, -1}, textLines{huge, huge - 1000}
	tests := []struct {
		name string
		got  Source
		text recipe.Text
		want string // of the finding; empty: it holds
	}{
		{"golden holds", same, recipe.Text{Golden: match("golden")}, ""},
		{"golden differs", changed, recipe.Text{Golden: match("golden")}, "the first difference is in line 6553538, column 9: want \"89abcde\\n\", got \"X9abcde\\n\""},
		{"equals", zeros(huge), recipe.Text{Equals: match("short")}, "want 5 bytes, got 100 MiB, first difference at byte 0 (0x0)"},
		{"contains", changed, recipe.Text{Contains: match("abcde\n01234567X9")}, ""},
		{"does not contain", same, recipe.Text{Contains: match("X")}, "it is 100 MiB, beginning with \"0123456789abcde\\n0123"},
		{"contains what it should not", changed, recipe.Text{NotContains: match("X")}, `contains "X" in line 6553538: "01234567X9abcde"`},
		{"matches", textLines{16 << 20, 16<<20 - 1000}, recipe.Text{Matches: match("X9a")}, ""},
		{"normalize", same, recipe.Text{Equals: match("x"), Normalize: []recipe.Normalize{{Kind: "trim"}}},
			"stdout cannot be normalised: it is 100 MiB long and at most 32 MiB are taken where the whole text is needed"},
		{"json", same, recipe.Text{JSON: expr.LiteralValue(1)},
			"stdout cannot be read as JSON: it is 100 MiB long and at most 32 MiB are taken where the whole text is needed"},
	}
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "golden"))
	if err != nil {
		t.Fatal(err)
	}
	r, _ := same.Open()
	if _, err := f.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r, err := Step(t.Context(), &recipe.Step{Expect: recipe.Expect{Stdout: &tt.text}}, dir, Outcome{Stdout: tt.got}, nil, false)
			runtime.ReadMemStats(&after)
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "" && r.Reason != "" || !strings.Contains(messages(r), tt.want) {
				t.Errorf("got %s\nwant %s", messages(r), tt.want)
			}
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 2<<20 {
				t.Errorf("%d KiB were allocated", allocated>>10)
			}
		})
	}
}

// A new golden file of 100 MB goes through the spool and not through memory.
func TestLargeUpdate(t *testing.T) {
	dir := t.TempDir()
	u := NewUpdates(t.TempDir())
	big := textLines{100 << 20, -1}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := Step(t.Context(), &recipe.Step{Expect: recipe.Expect{Stdout: golden("new")}}, dir, Outcome{Stdout: big}, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Add(dir, r.Golden); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 2<<20 {
		t.Errorf("%d KiB were allocated", allocated>>10)
	}
	if r, err := Step(t.Context(), &recipe.Step{Expect: recipe.Expect{Stdout: golden("new")}}, dir, Outcome{Stdout: big}, nil, false); err != nil || r.Reason != "" {
		t.Errorf("%v %s", err, messages(r))
	}
}
