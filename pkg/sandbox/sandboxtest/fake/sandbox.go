package fake

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Why a sandbox cannot be used any more; they are the causes of its context.
var (
	errReleased = errors.New("the sandbox was released")
	errLost     = errors.New("the sandbox is gone")
	errDied     = errors.New("the first process of the sandbox was killed")
	errReset    = errors.New("the sandbox was reset") // of a life
)

// Sandbox is one sandbox in memory.
type Sandbox struct {
	p    *Provider
	n    int64
	id   string
	spec sandbox.Spec

	ctx  context.Context // ends when the sandbox does, with one of the errors above
	stop context.CancelCauseFunc

	released atomic.Bool // also where it had died or was lost before
	life     atomic.Pointer[life]
}

// life is a sandbox from its start, or its last reset, to the next: what ends with it, and its files.
type life struct {
	s    *Sandbox
	ctx  context.Context // ends with the sandbox, or by a reset
	stop context.CancelCauseFunc

	making sync.Mutex
	files  atomic.Pointer[vfs]
}

func (s *Sandbox) begin() *life {
	l := &life{s: s}
	l.ctx, l.stop = context.WithCancelCause(s.ctx)
	return l
}

func newSandbox(p *Provider, spec sandbox.Spec) *Sandbox {
	s := &Sandbox{p: p, spec: spec}
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	s.life.Store(s.begin())
	return s
}

// ID names the sandbox.
func (s *Sandbox) ID() string { return s.id }

// Spec returns what the sandbox was acquired with.
func (s *Sandbox) Spec() sandbox.Spec { return s.spec }

// Host returns a name, which nothing can connect to.
func (s *Sandbox) Host() string { return s.id + ".fake" }

// Die kills the sandbox's first process, as code under test may: commands that run end with SandboxDied, and later
// calls but Release are KindLost.
func (s *Sandbox) Die() { s.stop(errDied) }

// Lose takes the sandbox away, as a deleted pod: what runs, and later calls but Release, are KindLost.
func (s *Sandbox) Lose() { s.stop(errLost) }

// Release takes the sandbox down.
func (s *Sandbox) Release(ctx context.Context) error {
	if err := s.p.strike(ctx, Release, s); err != nil {
		return asError(ctx, "release", s.id, sandbox.KindInternal, err)
	}
	s.released.Store(true)
	s.stop(errReleased)
	s.p.forget(s)
	return nil
}

// Reset ends what runs and begins with an empty disk. One that a Fault strikes loses the sandbox.
func (s *Sandbox) Reset(ctx context.Context) error {
	if err := s.ready(ctx, "reset", Reset); err != nil {
		s.Lose()
		return err
	}
	s.life.Swap(s.begin()).stop(errReset)
	s.p.count(&s.p.stats.Resets)
	return nil
}

// check says whether the sandbox can be used for op.
func (s *Sandbox) check(op string) error {
	if s.ctx.Err() == nil {
		return nil
	}
	if s.released.Load() {
		return &sandbox.Error{Op: op, ID: s.id, Kind: sandbox.KindReleased, Err: errReleased}
	}
	return &sandbox.Error{Op: op, ID: s.id, Kind: sandbox.KindLost, Err: context.Cause(s.ctx)}
}

// ReadFile returns the content of a file; a relative path starts at the workspace.
func (s *Sandbox) ReadFile(path string) ([]byte, error) { return s.disk().readFile(path) }

// WriteFile makes or replaces a file and its parent directories; a relative path starts at the workspace.
func (s *Sandbox) WriteFile(path string, content []byte, mode fs.FileMode) error {
	return s.disk().writeFile(path, content, mode)
}

func (s *Sandbox) disk() *vfs { return s.life.Load().disk() }

// disk returns the files of the sandbox, which are made when something first looks at them: most no-op cases never do.
func (l *life) disk() *vfs {
	if v := l.files.Load(); v != nil {
		return v
	}
	l.making.Lock()
	defer l.making.Unlock()
	if l.files.Load() == nil {
		l.files.Store(newVFS(l.s))
	}
	return l.files.Load()
}

// check says whether a call that began in this life may go on.
func (l *life) check(op string) error {
	if err := l.s.check(op); err != nil || l.ctx.Err() == nil {
		return err
	}
	return &sandbox.Error{Op: op, ID: l.s.id, Kind: sandbox.KindLost, Err: context.Cause(l.ctx)}
}

// fulls counts how often there was no space on the disk.
func (l *life) fulls() int {
	v := l.files.Load()
	if v == nil {
		return 0
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.full
}
