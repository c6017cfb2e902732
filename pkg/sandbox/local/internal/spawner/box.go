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

	init  int // the first process; zero: not started
	pidfd int
	root  int           // O_PATH
	disk  int           // the workspace, O_PATH
	gone  chan struct{} // closed when init and with it every process has ended

	removal sync.Once
	removed error

	leaving bool           // under the server's mu: no request begins to use it any more
	users   sync.WaitGroup // requests that use it; its descriptors and its group are others' afterwards

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

// kill ends every process of the sandbox. It does not wait.
func (b *box) kill() {
	b.mu.Lock()
	b.released = true
	b.mu.Unlock()
	if b.pidfd >= 0 {
		// The kernel ends the whole PID namespace with its first process. The error is that it has ended already.
		_ = unix.PidfdSendSignal(b.pidfd, unix.SIGKILL, nil, 0)
	}
}

// remove takes down what there is of a sandbox. It is safe to call twice; the second call waits for the first.
func (b *box) remove() error {
	if b.approx.stop != nil {
		b.approx.stop()
	}
	b.kill()
	b.removal.Do(func() { b.removed = b.takeDown() })
	return b.removed
}

// takeDown does not hold mu: init only ends when commands that have ended are waited for. Nothing is closed or given to
// another sandbox while a request uses it: a command would run in the other one, or what that one does to its limits
// would be told of this one.
func (b *box) takeDown() error {
	var errs []error
	b.server.mu.Lock()
	b.leaving = true
	b.server.mu.Unlock()
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
		for _, fd := range []int{b.pidfd, b.root, b.disk} {
			if fd >= 0 {
				unix.Close(fd)
			}
		}
	case <-time.After(removeTimeout):
		errs = append(errs, fmt.Errorf("process %d of sandbox %s does not end", b.init, b.id))
	}
	if b.member != nil {
		b.member.Leave()
	}
	if b.net != nil {
		if len(errs) == 0 {
			go b.server.nets.Put(b.net) // it takes a while to look at, which concerns nobody
		} else {
			b.net.Close()
		}
	}
	if b.group != nil {
		ctx, cancel := timeout()
		if len(errs) == 0 {
			errs = append(errs, b.server.groups.Put(ctx, b.group))
		} else {
			errs = append(errs, b.group.Remove(ctx))
		}
		cancel()
	}
	if b.slot != nil && errors.Join(errs...) == nil {
		b.server.slots.put(b.slot) // not while a process with its id may live
	}
	b.server.mu.Lock()
	delete(b.server.boxes, b.id)
	b.server.mu.Unlock()
	return errors.Join(errs...)
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
				n, err := unix.Wait4(pid, &ws, unix.WNOHANG, usage)
				return n == pid || err != nil && err != unix.EINTR
			})
		}
	}
	if err != nil { // no descriptors left, or none that can be polled
		for {
			if _, err := unix.Wait4(pid, &ws, 0, usage); err != unix.EINTR {
				break
			}
		}
	}
	return ws
}
