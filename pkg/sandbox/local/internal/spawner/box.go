package spawner

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/cgroup"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/netcase"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/netkeep"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/rawclone"
)

// box is one sandbox.
type box struct {
	id     string
	spec   sandbox.Spec
	server *server
	shape  *shape
	slot   *slot
	group  *cgroup.Group
	approx approx
	member *netcase.Member    // of its group's network, or nil
	net    *netkeep.Namespace // where it has no network; nil: not to be used again
	joins  []int              // descriptors to join the group by, which are its

	init    int // the first process; zero: not started
	pidfd   int
	root    int           // O_PATH
	disk    int           // the workspace, O_PATH
	scripts int           // where scripts are, to be written to
	gone    chan struct{} // closed when init and with it every process has ended

	removal sync.Mutex // held by remove

	leaving bool               // under the server's mu: no request begins to use it any more
	users   sync.WaitGroup     // requests that use it; its descriptors and its group are others' afterwards
	use     cgroup.MemoryWatch // watch's alone

	mu       sync.Mutex
	released bool              // taken down by us, or about to be
	used     bool              // a command was started, or about to be
	placed   int64             // pages of files that place has made
	steps    map[uint64]*step  // that run, by the sequence number of their request
	marks    map[uint64]bool   // of all commands so far
	bySeq    map[uint64]uint64 // their marks, by the sequence number of their request
}

// find returns a sandbox that was not released. It is there until the caller is done with it, see users.
func (s *server) find(id string) (*box, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.boxes[id]
	if b == nil || b.leaving {
		return nil, kinded(sandbox.KindReleased, "the sandbox was released")
	}
	b.users.Add(1)
	return b, nil
}

// watch waits for the end of init.
func (b *box) watch() {
	waitEnd(b.pidfd, b.init, nil)
	close(b.gone)
}

// died says whether init ended though nobody here ended it.
func (b *box) died() bool {
	select {
	case <-b.gone:
	default:
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.released
}

// awaitEnd gives a sandbox that may be dying, since it cannot be entered, the time that it takes until its end is known:
// all in it goes first.
func (b *box) awaitEnd() {
	select {
	case <-b.gone:
	case <-time.After(killPatience):
	}
}

// kill ends every process of the sandbox. It does not wait.
func (b *box) kill() {
	b.mu.Lock() // against the end of takeDown: the number of a closed descriptor may be another's
	defer b.mu.Unlock()
	b.released = true
	if b.pidfd >= 0 {
		// The kernel ends the whole PID namespace with its first process. The error is that it has ended already.
		_ = unix.PidfdSendSignal(b.pidfd, unix.SIGKILL, nil, 0)
	}
}

// remove takes down what there is of a sandbox. It may be called again, also while another call runs: what could not be
// taken down is tried again, what is down is done.
func (b *box) remove() error {
	b.kill()
	b.removal.Lock()
	defer b.removal.Unlock()
	return b.takeDown()
}

// takeDown does not hold mu: init only ends when commands that have ended are waited for. Nothing is closed or given to
// another sandbox while a request uses it: a command would run in the other one, or what that one does to its limits
// would be told of this one.
func (b *box) takeDown() error {
	b.server.mu.Lock()
	b.leaving = true
	b.server.mu.Unlock()
	if b.member != nil {
		b.member.Leave()
		b.member = nil
	}
	if err := b.ended(); err != nil {
		if b.group == nil {
			return err
		}
		ctx, cancel := timeout()
		defer cancel()
		return errors.Join(err, b.group.Remove(ctx)) // which kills in another way
	}
	b.mu.Lock()
	for _, fd := range []*int{&b.pidfd, &b.root, &b.disk, &b.scripts} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
	b.mu.Unlock()
	if b.net != nil {
		go b.server.nets.Put(b.net) // it takes a while to look at, which concerns nobody
		b.net = nil
	}
	if b.group != nil {
		ctx, cancel := timeout()
		defer cancel()
		if err := b.server.groups.Put(ctx, b.group); err != nil {
			return err
		}
		b.group = nil
	}
	if b.slot != nil {
		b.server.slots.put(b.slot) // not while a process with its id may live
		b.slot = nil
	}
	b.server.mu.Lock()
	delete(b.server.boxes, b.id)
	b.server.mu.Unlock()
	return nil
}

// ended waits until nothing of the sandbox runs, and nothing uses it.
func (b *box) ended() error {
	unused := make(chan struct{})
	go func() {
		defer close(unused)
		b.users.Wait()
		if b.init != 0 {
			<-b.gone
		}
	}()
	select {
	case <-unused:
		return nil
	case <-time.After(removeTimeout):
		return fmt.Errorf("process %d of sandbox %s does not end", b.init, b.id)
	}
}

func (s *server) release(id string) error {
	s.mu.Lock()
	b := s.boxes[id]
	s.mu.Unlock()
	if b == nil {
		return nil // it is down already
	}
	return b.remove()
}

// waitEnd waits for a child of this process to end, without a thread that waits.
func waitEnd(pidfd, pid int, usage *unix.Rusage) unix.WaitStatus {
	var ws unix.WaitStatus
	dup, err := unix.FcntlInt(uintptr(pidfd), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		f := os.NewFile(uintptr(dup), "pidfd")
		defer f.Close()
		var raw interface {
			Read(func(uintptr) bool) error
		}
		if raw, err = f.SyscallConn(); err == nil {
			err = raw.Read(func(uintptr) bool {
				status, ended, err := rawclone.Ended(pid, usage)
				ws = status
				return ended || err != nil
			})
		}
	}
	if err != nil { // no descriptors left, or none that can be polled
		ws, _ = rawclone.Wait(pid, usage)
	}
	return ws
}
