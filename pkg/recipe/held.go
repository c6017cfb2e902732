package recipe

import "slices"

// Held returns the sandboxes that a sample holds at a time, as indexes into Sandboxes: first those of steps, finally, collect
// and transfers between them, and when they are released those of verify.
func (r *Recipe) Held() (main, verify []int) {
	main, verify = r.usedBy(slices.Concat(r.Steps, r.Finally)), r.usedBy(r.Verify)
	for _, c := range r.Collect {
		main = append(main, r.SandboxIndex(c.Sandbox))
	}
	for _, list := range []*[]int{&main, &verify} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return main, verify
}

func (r *Recipe) usedBy(items []Item) (boxes []int) {
	for _, item := range items {
		for _, s := range item.Steps {
			boxes = append(boxes, r.SandboxIndex(s.Sandbox))
			for _, f := range s.Files {
				for _, name := range []string{f.From, f.Sandbox} {
					if name != "" {
						boxes = append(boxes, r.SandboxIndex(name))
					}
				}
			}
		}
	}
	return boxes
}

// SandboxIndex finds a sandbox by name; no name is the first.
func (r *Recipe) SandboxIndex(name string) int {
	return max(0, slices.IndexFunc(r.Sandboxes, func(s Sandbox) bool { return s.Name == name }))
}
