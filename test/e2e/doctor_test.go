//go:build e2e

package e2e

import (
	"regexp"
	"testing"
)

// doctor takes a sandbox through its life and times it; what is not there it names.
func TestDoctor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "python", 1)
	s := w.start("doctor", "--warmpool", "python").ends(0)
	for _, step := range []string{"create", "execute", "write", "read", "list", "exists", "delete"} {
		if !regexp.MustCompile(step + ` +ok +\d+\.\d ms`).Match(s.out.Bytes()) {
			t.Errorf("%s: not ok, or without its time:\n%s", step, s.out.String())
		}
	}
	w.start("doctor", "--warmpool", "nosuch").ends(3).
		says(`there is no "nosuch" of sandboxwarmpools in namespace "`+w.name, `there is no warm pool "nosuch" in namespace "`+w.name)
	w.clean()
}
