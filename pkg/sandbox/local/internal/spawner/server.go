package spawner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/cgroup"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/netcase"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/netkeep"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/wire"
)

// server is the state of a spawner.
type server struct {
	conn  *wire.Conn
	hello wire.Hello
	host  host
	walls *walls

	shapes shapes
	slots  slots
	groups cgroup.Pool
	nets   netkeep.Spares
	hubs   netcase.Hubs

	mu      sync.Mutex
	boxes   map[string]*box
	waker   *time.Timer // for watch
	wake    time.Time   // when waker fires; zero: not set
	marks   uint64      // of commands, see mark
	closing bool
	busy    sync.WaitGroup // requests under way

	starting sync.Map // channels of commands that were asked for, by sequence number: closed once they run
}

// newServer makes the server of a run by the first message.
func newServer(conn *wire.Conn, host host, first wire.Request) (*server, error) {
	runtime.GOMAXPROCS(1) // a clone copies what other threads do meanwhile; with one there is nothing
	// A signal meant for sbxrun's process group cannot come here, a session of its own; one that does is no reason
	// to leave sandboxes unowned.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)

	if first.Hello == nil {
		return nil, errors.New("the first message was no hello")
	}
	s := &server{conn: conn, hello: *first.Hello, host: host, boxes: map[string]*box{}, waker: time.NewTimer(0)}
	var err error
	if s.walls, err = newWalls(&s.hello.Cgroups); err != nil {
		return nil, err
	}
	s.slots = slots{privileged: s.hello.UID == 0, dir: s.hello.State}
	s.shapes.hello = &s.hello
	s.groups.Manager = &s.hello.Cgroups
	go s.watch()
	return s, nil
}

// serve answers requests until the connection ends, then takes everything down.
func (s *server) serve() error {
	// Goroutines stay for later requests: their stacks have grown already.
	work := make(chan func())
	defer close(work)
	for {
		var req wire.Request
		files, err := s.conn.Receive(&req)
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
				err = nil
			}
			return errors.Join(err, s.shutdown())
		}
		if req.Bye {
			s.hello.Lock = ""
			continue
		}
		s.busy.Add(1)
		if req.Exec != nil || req.Send != nil { // a signal for it may be the next message
			s.starting.Store(req.Seq, make(chan struct{}))
		}
		task := func() {
			defer s.busy.Done()
			s.answer(req, files)
		}
		select {
		case work <- task:
		default:
			go func() {
				task()
				for task := range work {
					task()
				}
			}()
		}
	}
}

func (s *server) answer(req wire.Request, files []int) {
	reply := wire.Reply{Seq: req.Seq}
	var out []int
	var err error
	switch {
	case req.Create != nil:
		var host string
		host, out, err = s.create(*req.Create)
		reply.Created = &wire.Created{Host: host}
	case req.Exec != nil:
		reply.Ended, err = s.exec(req.Seq, *req.Exec, files)
		files = nil // exec has closed them, long before it returns
	case req.Signal != nil:
		reply.Signaled, err = s.signal(*req.Signal)
	case req.Send != nil:
		err = s.send(req.Seq, *req.Send, files)
	case req.Open != nil:
		out, err = s.open(*req.Open)
	case req.Release != nil:
		err = s.release(req.Release.ID)
	default:
		err = errors.New("a request without content")
	}
	wire.CloseAll(files)
	reply.Err = wireError(err)
	// An error means that sbxrun is gone, which serve is about to see.
	_ = s.conn.Send(reply, out...)
	wire.CloseAll(out)
}

func wireError(err error) *wire.Error {
	if err == nil {
		return nil
	}
	var errno syscall.Errno
	errors.As(err, &errno)
	if e, ok := errors.AsType[*kindError](err); ok {
		return &wire.Error{Kind: e.kind, Text: err.Error(), Errno: int(errno)}
	}
	return &wire.Error{Kind: sandbox.KindInternal, Text: err.Error(), Errno: int(errno)}
}

// kindError gives an error the kind that the caller of the provider sees.
type kindError struct {
	kind sandbox.Kind
	err  error
}

func (e *kindError) Error() string { return e.err.Error() }
func (e *kindError) Unwrap() error { return e.err }

func kinded(kind sandbox.Kind, format string, args ...any) error {
	return &kindError{kind, fmt.Errorf(format, args...)}
}

// shutdown takes everything down: at once, since nobody is left to wait for anything else.
func (s *server) shutdown() error {
	s.mu.Lock()
	s.closing = true
	boxes := make([]*box, 0, len(s.boxes))
	for _, b := range s.boxes {
		boxes = append(boxes, b)
	}
	s.mu.Unlock()
	for _, b := range boxes { // all of them before waiting for one
		b.kill()
	}
	var errs []error
	for _, b := range boxes {
		errs = append(errs, b.remove())
	}
	s.busy.Wait() // a create that was under way has released what it made
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := s.hello.Cgroups.Sweep(ctx, func(run string) bool { return run != s.hello.Run })
	s.hubs.Close()
	s.slots.close()
	if err = errors.Join(append(errs, err)...); err == nil && s.hello.Lock != "" {
		disown(s.hello.Lock)
	}
	return err
}

// disown removes the lock of a run whose sbxrun was killed, of which nothing is left now. One that lives holds the lock
// and removes it itself; gc removes what stays here for whatever reason.
func disown(lock string) {
	f, err := os.OpenFile(lock, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	defer f.Close()
	for range 20 { // the end of a process closes its files one after the other
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.Remove(lock)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// host is what of the kernel and the host is the same for all sandboxes.
type host struct {
	lastCap    int
	openFiles  uint64 // the hard limit
	perUser    perUser
	maskDirs   []string
	maskFiles  []string
	children   bool // the kernel lists the children of a process
	hold       int  // every sandbox's init reads it; the other end is held here only
	holdWriter int
}

// perUser are the limits of what the kernel counts by user, for sandboxes: half of what the user has.
type perUser struct{ signals, queues uint64 }

func lookAtHost() (h host, err error) {
	b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return h, err
	}
	if _, err := fmt.Sscan(string(b), &h.lastCap); err != nil {
		return h, fmt.Errorf("cap_last_cap: %w", err)
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return h, err
	}
	h.openFiles = files.Max
	for resource, half := range map[int]*uint64{unix.RLIMIT_SIGPENDING: &h.perUser.signals, unix.RLIMIT_MSGQUEUE: &h.perUser.queues} {
		var have unix.Rlimit
		if err := unix.Getrlimit(resource, &have); err != nil {
			return h, err
		}
		*half = have.Cur / 2
	}
	h.maskDirs = existing("/proc/acpi", "/proc/scsi", "/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/driver")
	h.maskFiles = slices.DeleteFunc(existing("/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/timer_list", "/proc/sched_debug",
		"/proc/sysrq-trigger", "/proc/kallsyms", "/proc/kpagecount", "/proc/kpageflags", "/proc/kpagecgroup", "/proc/vmallocinfo",
		"/proc/config.gz", "/proc/interrupts", "/proc/latency_stats", "/proc/timer_stats"), rootsAlone)
	if _, err := os.Stat("/proc/thread-self/children"); err == nil {
		h.children = true
	}
	var pp [2]int
	if err := unix.Pipe2(pp[:], unix.O_CLOEXEC); err != nil {
		return h, err
	}
	h.hold, h.holdWriter = pp[0], pp[1]
	return h, nil
}

// rootsAlone says whether nobody but root of the host may open a file, who is in no sandbox. Each mask is a mount more.
func rootsAlone(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().Perm()&0o077 == 0 && info.Sys().(*syscall.Stat_t).Uid == 0
}

func existing(paths ...string) (there []string) {
	for _, p := range paths {
		if _, err := os.Lstat(p); err == nil {
			there = append(there, p)
		}
	}
	return there
}
