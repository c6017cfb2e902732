package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/userns"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/wire"
)

// Sandbox is a sandbox of namespaces.
type Sandbox struct {
	files
	p    *Provider
	host string

	releasing sync.Mutex // held by Release
	down      bool
}

// files is what both kinds of sandboxes need to be read from.
type files struct {
	id     string
	client *client      // opens what we may not; nil where there is nobody who may
	spec   sandbox.Spec // with complete limits
	root   *os.File     // O_PATH
	disk   *os.File     // the workspace, O_PATH

	mu       sync.RWMutex // held for reading by what uses root and disk
	released chan struct{}
}

// close is the end of a release.
func (s *files) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.root.Close()
	s.disk.Close()
}

// releaseTimeout bounds a release that nobody waits for.
const releaseTimeout = 15 * time.Second

func (p *Provider) acquireBox(ctx context.Context, c *client, id string, spec sandbox.Spec) (*Sandbox, error) {
	_, ch, err := c.begin(wire.Request{Create: &wire.Create{ID: id, Spec: spec}})
	if err != nil {
		return nil, wrap(ctx, "acquire", id, err)
	}
	a := <-ch // it takes milliseconds: nothing is left behind
	reply, fds, err := a.result()
	if err != nil {
		return nil, wrap(ctx, "acquire", id, explain(err))
	}
	s := &Sandbox{p: p, host: reply.Created.Host, files: files{
		id: id, client: c, spec: spec, released: make(chan struct{}),
		root: os.NewFile(uintptr(fds[0]), "root"), disk: os.NewFile(uintptr(fds[1]), "workspace"),
	}}
	if ctx.Err() != nil {
		err := s.Release(context.WithoutCancel(ctx))
		if err == nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return s, nil
}

// explain turns a refusal of the kernel, which an ordinary user's machine may have for many reasons, into one that names
// the reason and the remedy.
func explain(err error) error {
	var e *wire.Error
	if os.Geteuid() == 0 || !errors.As(err, &e) || e.Kind != sandbox.KindInternal {
		return err
	}
	switch errno := syscall.Errno(e.Errno); errno {
	case syscall.EPERM, syscall.EACCES, syscall.ENOSPC, syscall.EINVAL, syscall.ENOSYS:
		step := userns.StepMount
		if strings.Contains(e.Text, ": proc: ") || strings.Contains(e.Text, ": mount /proc: ") { // as the calls are named
			step = userns.StepProc
		}
		return &sandbox.Error{Kind: sandbox.KindUnsupported, Err: fmt.Errorf("%w (%s)", userns.Explain(step, errno), e.Text)}
	}
	return err
}

// ID names the sandbox.
func (s *files) ID() string { return s.id }

// Host returns the address at which sandboxes of the same group reach this one; empty without such a network.
func (s *Sandbox) Host() string { return s.host }

// check is what every method begins with.
func (s *files) check(ctx context.Context, op string) error {
	select {
	case <-s.released:
		return s.errReleased(op)
	default:
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (s *files) errReleased(op string) error {
	return &sandbox.Error{Op: op, ID: s.id, Kind: sandbox.KindReleased, Err: os.ErrClosed}
}

// Release takes the sandbox down. After an error it may be called again, to try again.
func (s *Sandbox) Release(ctx context.Context) error {
	s.releasing.Lock()
	defer s.releasing.Unlock()
	if s.down {
		return nil
	}
	select {
	case <-s.released: // by a Release that did not succeed
	default:
		close(s.released)
		defer s.close()
	}
	_, _, err := s.client.call(ctx, wire.Request{Release: &wire.Release{ID: s.id}})
	if errors.Is(err, errSpawner) {
		err = s.client.ended(ctx)
	}
	if err != nil {
		return wrap(ctx, "release", s.id, err)
	}
	s.down = true
	s.p.forget(s.id)
	return nil
}
