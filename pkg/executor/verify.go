package executor

import (
	"slices"
	"strings"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// collectedParts is what is staged into a verify sandbox: what was collected from every sandbox, at the paths it had.
func (a *attempt) collectedParts() []part {
	var all archive
	for _, e := range a.collected {
		all.add(e)
	}
	return all.tars()
}

// twice returns a path that was collected from two sandboxes, or that would have to be a folder for what was collected from
// another: no verify sandbox could hold both.
func twice(collected []entry) outcome {
	names := make([]string, len(collected))
	for i, e := range collected {
		names[i] = strings.ReplaceAll(e.name, "/", "\x00") // so that what lies below a name comes right after it
	}
	slices.Sort(names)
	for i := 1; i < len(names); i++ {
		above, name := names[i-1], names[i]
		shown := func(name string) string { return strings.ReplaceAll(name, "\x00", "/") }
		switch {
		case name == above:
			return failed(event.ReasonArtifact, "collect: two sandboxes have %q, and verify can get only one", shown(name))
		case strings.HasPrefix(name, above+"\x00"):
			return failed(event.ReasonArtifact, "collect: one sandbox has %q and another %q, and verify can get only one", shown(above), shown(name))
		}
	}
	return passed()
}
