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

	making sync.Mutex
	files  atomic.Pointer[vfs]
}

func newSandbox(p *Provider, spec sandbox.Spec) *Sandbox {
	s := &Sandbox{p: p, spec: spec}
	s.ctx, s.stop = context.WithCancelCause(context.Background())
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

// disk returns the files of the sandbox, which are made when something first looks at them: most no-op cases never do.
func (s *Sandbox) disk() *vfs {
	if v := s.files.Load(); v != nil {
		return v
	}
	s.making.Lock()
	defer s.making.Unlock()
	if s.files.Load() == nil {
		s.files.Store(newVFS(s))
	}
	return s.files.Load()
}

// fulls counts how often there was no space on the disk.
func (s *Sandbox) fulls() int {
	v := s.files.Load()
	if v == nil {
		return 0
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.full
}
