package local

import (
	"context"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/wire"
)

// Sandbox is a sandbox of namespaces.
type Sandbox struct {
	id     string
	p      *Provider
	client *client
	spec   sandbox.Spec
	host   string
	root   *os.File // O_PATH
	disk   *os.File // the workspace, O_PATH

	mu       sync.RWMutex // held for reading by what uses root and disk
	released chan struct{}
	once     sync.Once
	err      error // of the release
}

// releaseTimeout bounds a release that nobody waits for.
const releaseTimeout = 15 * time.Second

func (p *Provider) acquireBox(ctx context.Context, c *client, id string, spec sandbox.Spec) (*Sandbox, error) {
	_, ch, err := c.begin(wire.Request{Create: &wire.Create{ID: id, Spec: spec}})
	if err != nil {
		return nil, wrap(ctx, "acquire", id, err)
	}
	a := <-ch // it takes milliseconds: nothing is left behind
	reply, files, err := a.result()
	if err != nil {
		return nil, p.explain(wrap(ctx, "acquire", id, err))
	}
	s := &Sandbox{
		id: id, p: p, client: c, spec: spec, host: reply.Created.Host, released: make(chan struct{}),
		root: os.NewFile(uintptr(files[0]), "root"), disk: os.NewFile(uintptr(files[1]), "workspace"),
	}
	if ctx.Err() != nil {
		err := s.Release(context.WithoutCancel(ctx))
		if err == nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return s, nil
}

// explain adds to an error of the first sandbox what the machine refuses and the remedy.
func (p *Provider) explain(err error) error { return err }

// ID names the sandbox.
func (s *Sandbox) ID() string { return s.id }

// Host returns the address at which sandboxes of the same group reach this one; empty without such a network.
func (s *Sandbox) Host() string { return s.host }

// check is what every method begins with.
func (s *Sandbox) check(ctx context.Context, op string) error {
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

func (s *Sandbox) errReleased(op string) error {
	return &sandbox.Error{Op: op, ID: s.id, Kind: sandbox.KindReleased, Err: os.ErrClosed}
}

// Release takes the sandbox down.
func (s *Sandbox) Release(ctx context.Context) error {
	s.once.Do(func() {
		close(s.released)
		_, _, err := s.client.call(ctx, wire.Request{Release: &wire.Release{ID: s.id}})
		s.err = wrap(ctx, "release", s.id, err)
		s.mu.Lock()
		s.root.Close()
		s.disk.Close()
		s.mu.Unlock()
		s.p.forget(s.id)
	})
	return s.err
}

var _ = unix.O_PATH
