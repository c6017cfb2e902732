package local

import (
	"context"
	"testing"
)

// Where the other tests of this package pass, nothing may be blocked.
func TestExamine(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Examine(context.Background()) {
		t.Logf("%s: %s: %s (%s)", f.Name, f.State, f.Detail, f.Remedy)
		seen[f.Name] = true
		if f.State == Blocked || f.Detail == "" || f.State == Weaker && f.Remedy == "" {
			t.Errorf("%+v", f)
		}
	}
	for _, name := range []string{"kernel", "user", "control groups", "seccomp", "landlock", "PATH"} {
		if !seen[name] {
			t.Errorf("nothing about %s", name)
		}
	}
}

func TestExamineAsOrdinaryUser(t *testing.T) { asOrdinaryUser(t, "TestExamine") }
