package executor

import "github.com/sbxrun/sbxrun/pkg/event"

// collectedParts is what is staged into a verify sandbox: what was collected from every sandbox, at the paths it had.
func (a *attempt) collectedParts() []part {
	var all archive
	for _, e := range a.collected {
		all.add(e)
	}
	return all.tars()
}

// twice returns a path that was collected from two sandboxes, which no verify sandbox could hold both of.
func twice(collected []entry) outcome {
	seen := make(map[string]bool, len(collected))
	for _, e := range collected {
		if seen[e.name] {
			return failed(event.ReasonArtifact, "collect: two sandboxes have %q, and verify can get only one", e.name)
		}
		seen[e.name] = true
	}
	return passed()
}
