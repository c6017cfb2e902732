package shell

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Options of a Shell.
type Options struct {
	// ID is the sandbox's, for errors.
	ID        string
	Transport Transport
	// Gone closes when the sandbox is gone; Cause then says why. nil: never.
	Gone  <-chan struct{}
	Cause func() error
	// Workspace is the preferred workspace, /workspace if empty. Where it can neither be made nor written to, it is a
	// folder in the state folder.
	Workspace string
	// Files is the most descriptors of each process that a command starts, zero: as the container has it. Where the
	// container allows fewer, that holds.
	Files int64
	// InFlight is the most requests at a time, 6 if zero (the python runtime has few threads); at least 3.
	InFlight int
}

// Shell runs commands and moves files in one sandbox. Its methods may be called from many goroutines.
type Shell struct {
	opts  Options
	slots chan struct{} // of requests
	waits chan struct{} // of requests that wait in the sandbox
	// uploads are few at a time: over a slow line each takes minutes.
	uploads chan struct{}
	window  window
	quick   quick

	limit, patience time.Duration // MaxRun and patience, but for tests

	numbers atomic.Uint64 // of requests
	marks   atomic.Uint32

	mu       sync.Mutex
	epoch    string          // part of the ids of commands, new with each reset
	era      context.Context // of the epoch: cancelled by the reset that ends it
	endEra   context.CancelFunc
	commands uint64
	finished []string // ids whose files may go
	litter   int64    // bytes in them
	boot     string   // of the sandbox's first process
	lacks    []string // programs that files need and the image has not; nil until a command was started
	broken   error    // why the sandbox cannot be used any more
}

// New returns a Shell. It makes no request: the first command sets up what is needed.
func New(o Options) *Shell {
	if o.Workspace == "" {
		o.Workspace = sandbox.Workspace
	}
	if o.InFlight == 0 {
		o.InFlight = 6
	}
	o.InFlight = max(o.InFlight, 3)
	if o.Cause == nil {
		o.Cause = func() error { return nil }
	}
	s := &Shell{
		opts: o, slots: make(chan struct{}, o.InFlight), waits: make(chan struct{}, o.InFlight-2), uploads: make(chan struct{}, 2),
		window: window{n: largestWindow}, limit: MaxRun, patience: patience, epoch: token(),
	}
	s.era, s.endEra = context.WithCancel(context.Background())
	var seed [4]byte
	_, _ = rand.Read(seed[:]) // never fails
	s.marks.Store(binary.LittleEndian.Uint32(seed[:]))
	return s
}

// token is unpredictable, of [0-9a-f].
func token() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// nextID returns the id of a new command.
func (s *Shell) nextID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands++
	return fmt.Sprintf("%s-%06d", s.epoch, s.commands) // none of a million is the beginning of another
}

// takeFinished returns ids whose files are not needed any more, and whether that is worth a process that removes them.
func (s *Shell) takeFinished() (ids []string, clean bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.finished), 16)
	ids = slices.Clone(s.finished[:n])
	if clean = n >= 8 || s.litter >= 1<<20; clean {
		s.finished, s.litter = s.finished[n:], 0
	}
	return ids, clean
}

// finish notes that the files of a command, about so many bytes, are not needed any more.
func (s *Shell) finish(id string, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = append(s.finished, id)
	s.litter += bytes
}

// check says why no call can be made any more.
func (s *Shell) check(ctx context.Context, op string) error {
	if err := s.gone(op); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.fail(op, sandbox.KindLost, s.broken)
	}
	return nil
}

// errReset says that a reset came between.
var errReset = &sandbox.Error{Kind: sandbox.KindLost, Err: errors.New("the sandbox was reset meanwhile")}

// scope returns the context of one call of Exec, Send or Receive: a reset cancels it, with errReset as the cause.
func (s *Shell) scope(ctx context.Context) (scope context.Context, epoch string, end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	scope, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.era, func() { cancel(errReset) })
	return scope, s.epoch, func() {
		stop()
		cancel(nil)
	}
}

// gone returns the reason for the sandbox's end once it has ended.
func (s *Shell) gone(op string) error {
	select {
	case <-s.opts.Gone:
	default:
		return nil
	}
	cause := s.opts.Cause()
	if e, ok := errors.AsType[*sandbox.Error](cause); ok {
		return s.fail(op, e.Kind, e.Err)
	}
	if cause == nil {
		cause = errors.New("the sandbox is gone")
	}
	return s.fail(op, sandbox.KindLost, cause)
}

// live returns a context that is also cancelled when the sandbox is gone.
func (s *Shell) live(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if s.opts.Gone == nil {
		return ctx, cancel
	}
	ended := make(chan struct{})
	go func() {
		select {
		case <-s.opts.Gone:
			cancel()
		case <-ended:
		}
	}()
	var once sync.Once
	return ctx, func() {
		cancel()
		once.Do(func() { close(ended) })
	}
}

func (s *Shell) fail(op string, kind sandbox.Kind, err error) *sandbox.Error {
	return &sandbox.Error{Op: op, ID: s.opts.ID, Kind: kind, Err: err}
}

// wrap makes an error of a call one of the sandbox: the reason for its end, the cause of the context, or the error itself.
func (s *Shell) wrap(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if why := s.gone(op); why != nil {
		return why
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errReset) {
		return cause
	} else if cause != nil {
		err = errReset
	}
	if e, ok := errors.AsType[*sandbox.Error](err); ok {
		if e.Op == "" || e.ID == "" {
			return s.fail(op, e.Kind, e.Err)
		}
		return err
	}
	return s.fail(op, sandbox.KindInternal, err)
}

// problem is an error that wrap completes.
func problem(kind sandbox.Kind, format string, args ...any) error {
	return &sandbox.Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}
