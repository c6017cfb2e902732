package spawner

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/cgroup"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/rawclone"
)

// approx stands in for the control groups that are not there.
type approx struct {
	memory, pids, cpu bool         // what has to be approximated
	ooms, full        atomic.Int64 // how often memory was beyond its limit where the kernel let it, and processes at theirs
}

// lookAtPIDs lists the processes of a sandbox. Where they have to be counted it notes whether these, and so many more that
// were there a moment ago, are all that there may be: the kernel does not tell of a fork that it refused.
func (b *box) lookAtPIDs(more int) []int {
	list := b.processes()
	if b.approx.pids && int64(len(list)+more) >= b.spec.Limits.PIDs {
		b.approx.full.Add(1)
	}
	return list
}

// apply adds the calls that limit a process itself.
func (a *approx) apply(p *rawclone.Program, l sandbox.Limits, spread int) {
	set := func(resource int, value uint64) {
		p.Call("limit", unix.SYS_PRLIMIT64, 0, resource, rawclone.Bytes(&unix.Rlimit{Cur: value, Max: value}), 0)
	}
	if a.memory {
		set(unix.RLIMIT_DATA, cgroup.DataLimit(l.Memory))
	}
	if a.pids { // counted in the sandbox's user namespace, init included
		set(unix.RLIMIT_NPROC, uint64(l.PIDs)+1)
	}
	if cores, ok := cgroup.Affinity(l.CPU, spread); a.cpu && ok {
		p.Call("affinity", unix.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(cores), rawclone.Bytes(&cores))
	}
}

// hits are how often limits struck so far; seen are the ooms of which the kernel does not know.
type hits struct{ ooms, seen, pids int64 }

func (b *box) hits() (hits, error) {
	e, err := b.group.Events()
	seen := b.approx.ooms.Load()
	return hits{e.OOMKills + seen, seen, e.PIDsMax + b.approx.full.Load()}, err
}
