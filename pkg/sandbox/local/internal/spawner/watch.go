package spawner

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/cgroup"
)

// The kernel's limit on the memory of a control group is a wall around memory and disk together, since the disk is memory to
// it. What tells them apart, and what there is without control groups, is looking at what sandboxes use: a peak that is over
// between two looks is missed. The kernel's own record of it has the disk and caches in it, so it proves nothing.

// watchUse has watch look at a new sandbox. The caller holds the server's mu.
func (b *box) watchUse() {
	cg := &b.server.hello.Cgroups
	a := &b.approx
	a.memory, a.pids, a.cpu = !cg.Enforces("memory"), !cg.Enforces("pids"), !cg.Enforces("cpu")
	b.use = cgroup.MemoryWatch{Limit: b.spec.Limits.Memory, Least: cgroup.WatchLeast}
	if a.memory || a.pids {
		b.use.Least = cgroup.WatchMost // each process is looked at
	}
	b.use.Saw(time.Now(), 0)
	b.server.wakeBy(b.use.Due)
}

// wakeBy has watch look no later than at t. The caller holds mu.
func (s *server) wakeBy(t time.Time) {
	if s.wake.IsZero() || t.Before(s.wake) {
		s.wake = t
		s.waker.Reset(time.Until(t))
	}
}

// watch looks at what sandboxes use. It is one for all of them, and looks also at those that are due in a moment: to wake up
// costs more than to look.
func (s *server) watch() {
	for range s.waker.C {
		var due []*box
		s.mu.Lock()
		s.wake = time.Time{}
		soon := time.Now().Add(cgroup.WatchLeast)
		for _, b := range s.boxes {
			switch {
			case b.leaving: // its group may be another's
			case b.use.Due.After(soon):
				s.wakeBy(b.use.Due)
			default:
				b.users.Add(1)
				due = append(due, b)
			}
		}
		s.mu.Unlock()
		for _, b := range due {
			if b.use.Saw(time.Now(), b.memory()) {
				b.approx.ooms.Add(1)
				go b.strike()
			} else {
				b.users.Done()
			}
			s.mu.Lock()
			s.wakeBy(b.use.Due)
			s.mu.Unlock()
		}
	}
}

// strike ends all that runs in a sandbox that uses too much memory, as the kernel does for a group with memory.oom.group:
// which of its processes could be spared is not known.
func (b *box) strike() {
	defer b.users.Done()
	_ = b.signalAll(unix.SIGKILL)
}

// memory is what counts against the limit of memory.
func (b *box) memory() int64 {
	var pids []int
	if b.approx.memory || b.approx.pids {
		pids = b.lookAtPIDs(0)
	}
	if b.approx.memory {
		return cgroup.MemoryOf(pids, b.use.Limit)
	}
	n, err := b.group.Taken(b.use.Limit, b.onDisk)
	if err != nil { // nobody is to be killed for that, and there is the wall
		return 0
	}
	return n
}

// onDisk is how much memory the sandbox's files are.
func (b *box) onDisk() int64 {
	var fs unix.Statfs_t
	if unix.Fstatfs(b.disk, &fs) != nil {
		return 0
	}
	return int64(fs.Blocks-fs.Bfree) * fs.Bsize
}
