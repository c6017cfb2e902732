package local

import (
	"context"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Where the other tests of this package pass, nothing may be blocked.
func TestExamine(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Examine(context.Background()) {
		t.Logf("%s: %s: %s (%s)", f.Name, f.State, f.Detail, f.Remedy)
		seen[f.Name] = true
		if f.State == sandbox.Blocked || f.Detail == "" || f.State != sandbox.OK && f.Remedy == "" || strings.Contains(f.Detail+f.Remedy, "\n") {
			t.Errorf("%+v", f)
		}
	}
	for _, name := range []string{"machine", "kernel", "user", "namespaces", "control groups", "seccomp", "landlock", "rootfs folders", "state folder", "PATH", "programs"} {
		if !seen[name] {
			t.Errorf("nothing about %s", name)
		}
	}
}

func TestExamineAsOrdinaryUser(t *testing.T) { asOrdinaryUser(t, "TestExamine") }
