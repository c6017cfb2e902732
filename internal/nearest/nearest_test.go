package nearest

import "testing"

func TestNearest(t *testing.T) {
	keys := []string{"name", "run", "argv", "steps", "sandboxes", "if", "env"}
	tests := []struct {
		name, want string
	}{
		{"stpes", "steps"},
		{"step", "steps"},
		{"Steps", "steps"},
		{"rnu", "run"},
		{"fi", "if"},
		{"ti", ""},
		{"ru", "run"},
		{"sandbox", "sandboxes"},
		{"sandboxs", "sandboxes"},
		{"nmae", "name"},
		{"x", ""},
		{"", ""},
		{"matrix", ""},
		{"été", ""},
	}
	for _, tt := range tests {
		got, ok := Nearest(tt.name, keys)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("Nearest(%q) = %q, %v, want %q", tt.name, got, ok, tt.want)
		}
	}
}

func TestNearestPrefersTheClosest(t *testing.T) {
	if got, _ := Nearest("stdot", []string{"stdin", "stdout"}); got != "stdout" {
		t.Errorf("got %q, want stdout", got)
	}
	if got, _ := Nearest("ab", []string{"aa", "ac"}); got != "aa" {
		t.Errorf("got %q: the first of equals wins", got)
	}
}

func TestNearestOfHugeNameIsCheap(t *testing.T) {
	huge := string(make([]byte, 1<<20))
	if got, ok := Nearest(huge, []string{"steps"}); ok {
		t.Errorf("got %q", got)
	}
}
