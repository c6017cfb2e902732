package spawner

import (
	"context"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/cgroup"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/rawclone"
)

// approx stands in for the control groups that are not there.
type approx struct {
	memory, pids, cpu bool // what has to be approximated
	ooms, full        atomic.Int64
	stop              context.CancelFunc
}

// watch looks at what the sandbox uses until it is taken down.
func (b *box) watchUse() {
	cg := &b.server.hello.Cgroups
	a := &b.approx
	a.memory, a.pids, a.cpu = !cg.Enforces("memory"), !cg.Enforces("pids"), !cg.Enforces("cpu")
	if !a.memory && !a.pids {
		return
	}
	var ctx context.Context
	ctx, a.stop = context.WithCancel(context.Background())
	pids := func() []int { return b.lookAtPIDs(0) }
	limit := b.spec.Limits.Memory
	if !a.memory {
		limit = 1 << 62
	}
	go cgroup.WatchMemory(ctx, pids, limit, func(int64) {
		a.ooms.Add(1)
		b.signalLargest()
	})
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

// signalLargest kills the commands of a sandbox that uses too much memory: all of them, for want of knowing better.
func (b *box) signalLargest() {
	if b, err := b.server.find(b.id); err == nil { // it may be on its way down
		defer b.users.Done()
		_ = b.signalAll(unix.SIGKILL)
	}
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

// hits are how often limits struck so far.
type hits struct{ ooms, pids int64 }

func (b *box) hits() (hits, error) {
	e, err := b.group.Events()
	return hits{e.OOMKills + b.approx.ooms.Load(), e.PIDsMax + b.approx.full.Load()}, err
}
