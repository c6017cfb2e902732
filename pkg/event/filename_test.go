package event_test

import (
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/event"
)

func TestFileName(t *testing.T) {
	long := strings.Repeat("a", 101)
	for _, test := range []struct{ in, want string }{
		{"py=3.11,os=bookworm_A-1", "py=3.11,os=bookworm_A-1"},
		{"a/b c", "a%2Fb%20c"},
		{"100%", "100%25"},
		{"é", "%C3%A9"},
		{"\x00\xff", "%00%FF"},
		{".", "%2E"},
		{"..", "%2E%2E"},
		{"...", "..."},
		{strings.Repeat("a", 100), strings.Repeat("a", 100)},
		{"", "%-e3b0c44298fc1c149afbf4c8996fb924"},
		{long, strings.Repeat("a", 66) + "%-9d0793397991b57a99a07c6e6b4a92ba"},
	} {
		if got := event.FileName(test.in); got != test.want {
			t.Errorf("FileName(%q) = %q, want %q", test.in, got, test.want)
		}
	}
}

func FuzzFileName(f *testing.F) {
	for _, s := range []string{"", ".", "..", "%-", strings.Repeat("é", 60), strings.Repeat("a", 64) + "/" + strings.Repeat("b", 60)} {
		f.Add(s, s+"x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		name := event.FileName(a)
		if name == "" || name == "." || name == ".." || len(name) > 100 {
			t.Errorf("FileName(%q) = %q", a, name)
		}
		for i := range len(name) {
			if c := name[i]; !(c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte("._=,-%", c) >= 0) {
				t.Errorf("FileName(%q) = %q has byte %q", a, name, c)
			}
		}
		if other := event.FileName(b); (a == b) != (name == other) {
			t.Errorf("%q and %q are both named %q", a, b, name)
		}
		if short := event.FileName(name); strings.Contains(name, "%") && short == name {
			t.Errorf("the name %q is the name of itself and of %q", name, a)
		}
	})
}
