package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/cgroup"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/hostfs"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/scope"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/wire"
)

// Options of Open.
type Options struct {
	sandbox.Run
	// AllowNoIsolation lets specs ask for sandbox.IsolationNone, which isolates nothing.
	AllowNoIsolation bool
	// Ahead is used for the first sandbox, if not nil. Who started it closes it.
	Ahead *Ahead
}

// Provider makes sandboxes of namespaces of the Linux kernel.
type Provider struct {
	opts    Options
	cgroups *cgroup.Manager // of the spawner
	state   string
	owner   *os.File // the lock that tells others that the run lives

	mu        sync.Mutex
	spawner   *client     // nil until the first sandbox
	bare      *bareRecord // nil until the first sandbox without isolation
	boxes     map[string]held
	next      int
	acquiring sync.WaitGroup
	closed    bool
}

// held is a sandbox that Close has to release.
type held interface {
	Release(ctx context.Context) error
}

// Open makes a provider. It starts no process; what first needs the spawner does, or StartAhead.
func Open(ctx context.Context, opts Options) (*Provider, error) {
	fail := func(kind sandbox.Kind, err error) (*Provider, error) {
		return nil, &sandbox.Error{Op: "open", Kind: kind, Err: err}
	}
	if !filepath.IsAbs(opts.Dir) || !validRun(opts.ID) {
		return fail(sandbox.KindInvalid, fmt.Errorf("run %q in %q: want an id of at most 24 characters of [a-z0-9-] and an absolute folder", opts.ID, opts.Dir))
	}
	state, err := stateDir()
	if err != nil {
		return fail(sandbox.KindUnavailable, err)
	}
	p := &Provider{opts: opts, state: state, boxes: map[string]held{}}
	if p.owner, err = own(state, opts.ID); err != nil {
		return fail(sandbox.KindUnavailable, err)
	}
	return p, nil
}

func validRun(id string) bool {
	for _, r := range id {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return id != "" && len(id) <= 24
}

// start returns the running spawner, started by the first caller, and by the first one after it was lost. It is called
// with mu held.
func (p *Provider) start(ctx context.Context) (*client, error) {
	if c := p.spawner; c != nil {
		if !c.isLost() {
			return c, nil
		}
		if err := p.clearUp(ctx, c); err != nil {
			return nil, wrap(ctx, "acquire", "", errors.Join(errSpawner, err))
		}
		p.spawner = nil
	}
	proc, err := p.opts.Ahead.take()
	if proc == nil && err == nil {
		proc, err = startSpawner()
	}
	if err != nil {
		return nil, err
	}
	c := newClient(proc)
	cgroups := cgroup.Detect(ctx, cgroup.Options{PID: proc.PID, RunID: p.opts.ID, Scope: scope.Start})
	giveUp := func() {
		proc.Kill()
		<-proc.Done()
		proc.Conn.Close()
		_ = cgroups.Close() // it is not what went wrong
	}
	for _, name := range []string{"memory", "pids", "cpu"} {
		if p.cgroups != nil && p.cgroups.Enforces(name) && !cgroups.Enforces(name) { // the run has said what is enforced
			giveUp()
			return nil, &sandbox.Error{Op: "acquire", Kind: sandbox.KindUnavailable,
				Err: fmt.Errorf("%w, and another one gets no control group for %s: %s", errSpawner, name, cgroups.Reason)}
		}
	}
	wd, err := os.Getwd()
	if err != nil {
		wd = "/"
	}
	hello := &wire.Hello{
		Run: p.opts.ID, State: p.state, Path: os.Getenv("PATH"), Home: os.Getenv("HOME"), Dir: wd,
		Env: hostfs.Variables(os.Environ()), UID: os.Geteuid(), Cgroups: *cgroups,
	}
	hello.Private, hello.Links = private(p.state, p.opts.Dir, wd)
	if !p.opts.AllowNoIsolation { // what runs without isolation outlives a killed sbxrun, and gc needs the lock to find it
		hello.Lock = p.owner.Name()
	}
	if _, _, err := c.call(ctx, wire.Request{Hello: hello}); err != nil {
		giveUp()
		return nil, wrap(ctx, "acquire", "", explain(err))
	}
	p.spawner, p.cgroups = c, cgroups
	return c, nil
}

// clearUp removes what a spawner that is lost has left: processes, mounts and networks of its sandboxes end with it, control
// groups do not.
func (p *Provider) clearUp(ctx context.Context, c *client) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := c.ended(ctx); err != nil {
		return err
	}
	_, err := p.cgroups.Sweep(ctx, func(run string) bool { return run != p.opts.ID })
	return errors.Join(err, p.cgroups.Close())
}

// Confines says of which sandboxes nothing gets out: those that are isolated, have at most their own network, and see nothing
// of the host but the allowlist. A folder that is mounted is a way out even read-only, by a socket that is in it.
func (p *Provider) Confines(spec sandbox.Spec) bool {
	return spec.Network != sandbox.NetworkHost && spec.Local.Isolation != sandbox.IsolationNone && len(spec.Local.Mounts) == 0
}

// Acquire makes a sandbox.
func (p *Provider) Acquire(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	fail := func(kind sandbox.Kind, format string, args ...any) (sandbox.Sandbox, error) {
		return nil, &sandbox.Error{Op: "acquire", Kind: kind, Err: fmt.Errorf(format, args...)}
	}
	spec.Limits = spec.Limits.WithDefaults()
	if spec.Network == "" {
		spec.Network = sandbox.NetworkNone
		if spec.Local.Isolation == sandbox.IsolationNone { // it has no other
			spec.Network = sandbox.NetworkHost
		}
	}
	switch spec.Network {
	case sandbox.NetworkNone, sandbox.NetworkCase, sandbox.NetworkHost:
	default:
		return fail(sandbox.KindUnsupported, "network %q: want none, case or host", spec.Network)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return fail(sandbox.KindReleased, "the provider was closed")
	}
	p.next++
	id := p.opts.ID + "-" + strconv.Itoa(p.next)
	p.acquiring.Add(1)
	defer p.acquiring.Done()
	var c *client
	var err error
	switch spec.Local.Isolation {
	case "", sandbox.IsolationNamespaces:
		c, err = p.start(ctx)
	case sandbox.IsolationNone:
	default:
		err = &sandbox.Error{Op: "acquire", Kind: sandbox.KindUnsupported, Err: fmt.Errorf("isolation %q: want namespaces or none", spec.Local.Isolation)}
	}
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var sb interface {
		sandbox.Sandbox
		held
	}
	if c == nil {
		sb, err = p.acquireBare(id, spec)
	} else {
		if sb, err = p.acquireBox(ctx, c, id, spec); errors.Is(err, errSpawner) { // nothing has run
			p.mu.Lock()
			c, err = p.start(ctx)
			p.mu.Unlock()
			if err == nil {
				sb, err = p.acquireBox(ctx, c, id, spec)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.boxes[id] = sb
	p.mu.Unlock()
	return sb, nil
}

func (p *Provider) forget(id string) {
	p.mu.Lock()
	delete(p.boxes, id)
	p.mu.Unlock()
}

// closeTimeout bounds how long the spawner may take to end when everything is released.
const closeTimeout = 15 * time.Second

// Close releases every sandbox and ends the spawner.
func (p *Provider) Close(ctx context.Context) error {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	p.mu.Unlock()
	if !first {
		return nil
	}
	p.acquiring.Wait()
	p.mu.Lock()
	boxes := make([]held, 0, len(p.boxes))
	for _, b := range p.boxes {
		boxes = append(boxes, b)
	}
	c := p.spawner
	p.mu.Unlock()
	errs := make([]error, len(boxes))
	var wg sync.WaitGroup
	for i, b := range boxes {
		wg.Go(func() { errs[i] = b.Release(ctx) })
	}
	wg.Wait()
	if c != nil {
		err := c.close(ctx)
		switch {
		case errors.Is(err, errSpawner):
			err = p.clearUp(ctx, c)
		case err != nil: // it may have left control groups
			err = errors.Join(err, p.clearUp(ctx, c))
		default:
			err = p.cgroups.Close()
		}
		errs = append(errs, err)
	}
	if p.bare != nil {
		errs = append(errs, os.Remove(p.bare.Folder))
	}
	err := errors.Join(errs...)
	if err == nil {
		err = disown(p.owner)
	} else { // gc goes by the file of the lock
		err = errors.Join(err, p.owner.Close())
	}
	if err != nil {
		return &sandbox.Error{Op: "close", Kind: sandbox.KindInternal, Err: err}
	}
	return nil
}
