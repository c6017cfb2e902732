package cgroup

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Pool makes groups, and keeps those whose processes have ended for others with the same limits. The kernel takes longer
// to make a group, and to clear it away after it was removed, than for all else in a sandbox of one short command.
//
// A group that is kept is as good as a new one but for its counters, which go on: what matters of them is how they change.
type Pool struct {
	Manager *Manager

	mu   sync.Mutex
	free []*Group // the one that was used last at the end
}

// maxFree bounds how many groups are kept: limits may differ from case to case.
const maxFree = 64

// Get returns a group with these limits. A new one is made with this name; see Manager.Create.
func (p *Pool) Get(name string, l Limits) (*Group, error) {
	p.mu.Lock()
	for i, g := range slices.Backward(p.free) {
		if g.limits == l {
			p.free = slices.Delete(p.free, i, i+1)
			p.mu.Unlock()
			return g, nil
		}
	}
	p.mu.Unlock()
	return p.Manager.Create(name, l)
}

// Put takes a group back when its processes have ended. One that is not as good as new is removed, for which Remove's
// context is.
func (p *Pool) Put(ctx context.Context, g *Group) error {
	if len(g.dirs) == 0 {
		return nil
	}
	if g.worn() != nil {
		return g.Remove(ctx)
	}
	p.mu.Lock()
	p.free = append(p.free, g)
	var oldest *Group
	if len(p.free) > maxFree {
		oldest = p.free[0]
		p.free = slices.Delete(p.free, 0, 1)
	}
	p.mu.Unlock()
	if oldest != nil {
		return oldest.Remove(ctx)
	}
	return nil
}

// leftover is which part of its memory a group may begin with already used. The kernel charges files of the host, which
// others read after it, to the group that read them first, until it needs the memory; and it charges in advance.
const leftover = 64

// worn says why a group is not to be used again, or nothing.
func (g *Group) worn() error {
	switch {
	case g.changed:
		return fmt.Errorf("its limits were changed")
	case g.limits.CPU > 0:
		return fmt.Errorf("it may be in debt for time that its last user took")
	case g.pids == "":
		return fmt.Errorf("its processes are not counted")
	}
	u, err := g.usage()
	switch {
	case err != nil:
		return err
	case u.PIDs > 0:
		return fmt.Errorf("it has %d processes", u.PIDs)
	case g.memory != "" && u.Memory > g.limits.Memory/leftover:
		return fmt.Errorf("%d bytes are still charged to it", u.Memory)
	}
	return nil
}
