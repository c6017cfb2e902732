package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/claim"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/runtime/podexec"
)

// grace is how much longer than it is needed the cluster keeps a sandbox: clocks differ, and so do the times of teardown.
const grace = 10 * time.Minute

// Provider takes sandboxes from one cluster for one run.
type Provider struct {
	opts      Options
	cluster   *cluster.Cluster
	connector connect.Connector
	claims    *claim.Claims
	exec      *podexec.Client
	runtimes  runtimes

	mu    sync.Mutex
	boxes map[*box]struct{} // not yet released, those of Attach too
	down  bool              // Close was called
}

var (
	_ sandbox.Provider = (*Provider)(nil)
	_ sandbox.Warner   = (*Provider)(nil)
)

// Open reads which cluster is meant and asks which versions of Agent Sandbox it serves. Connections are made when the first
// sandbox needs them. The error is a *sandbox.Error.
func Open(ctx context.Context, opts Options) (*Provider, error) {
	opts = opts.withDefaults()
	c, err := opts.cluster()
	if err != nil {
		return nil, err
	}
	p, err := open(ctx, c, opts)
	if err != nil {
		c.Close()
	}
	return p, err
}

func open(ctx context.Context, c *cluster.Cluster, opts Options) (*Provider, error) {
	connector, err := connect.Open(ctx, c, opts.connection())
	if err != nil {
		return nil, err
	}
	exec, err := podexec.New(podexec.Options{Cluster: c})
	if err != nil {
		return nil, errors.Join(err, connector.Close())
	}
	claims, err := claim.Open(ctx, claim.Options{
		Cluster: c, Run: opts.Run, AcquireLimit: opts.AcquireTimeout,
		Entrances: opts.entrances(), Service: opts.named(), Trace: true,
	})
	if err != nil {
		return nil, errors.Join(err, connector.Close())
	}
	return &Provider{
		opts: opts, cluster: c, connector: connector, claims: claims, exec: exec,
		boxes: map[*box]struct{}{},
	}, nil
}

// Acquire claims a sandbox and waits until it is ready.
func (p *Provider) Acquire(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	spec, err := p.opts.complete(spec)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.opts.AcquireTimeout, fmt.Errorf("the limit of %v to acquire a sandbox", p.opts.AcquireTimeout))
	defer cancel()
	c, err := p.claims.Acquire(ctx, claim.Request{Spec: spec, Lifetime: p.opts.lifetime(), Ports: runtimePorts(spec.Cluster)})
	if err != nil {
		return nil, wrong(err)
	}
	b, err := p.open(ctx, c, spec)
	if err != nil {
		return nil, errors.Join(err, p.discard(ctx, c))
	}
	return b, nil
}

// wrong makes what the cluster or its types refuse in the recipe (a field that there is not, an invalid name) what it is for
// whoever acquires: trying again does not help.
func wrong(err error) error {
	if e, ok := errors.AsType[*sandbox.Error](err); ok && e.Kind == sandbox.KindInvalid {
		return &sandbox.Error{Op: e.Op, ID: e.ID, Kind: sandbox.KindUnsupported, Err: e.Err}
	}
	return err
}

// open makes a sandbox of a claim that is ready, and keeps it for Close.
func (p *Provider) open(ctx context.Context, c *claim.Claim, spec sandbox.Spec) (*box, error) {
	b, err := p.box(ctx, c, spec)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return nil, errors.Join(closedError("acquire"), b.end())
	}
	p.boxes[b] = struct{}{}
	return b, nil
}

// box makes a sandbox of a claim.
func (p *Provider) box(ctx context.Context, c *claim.Claim, spec sandbox.Spec) (*box, error) {
	target, err := p.target(ctx, c, spec.Cluster.Port)
	if err != nil {
		return nil, err
	}
	t, err := p.runtime(ctx, spec.Cluster, c, target)
	if err != nil {
		return nil, err
	}
	return newBox(p, c, target, t, spec.Limits), nil
}

// target is where the connector finds the sandbox of a claim.
func (p *Provider) target(ctx context.Context, c *claim.Claim, port int) (connect.Target, error) {
	t := connect.Target{Sandbox: c.Sandbox, Namespace: c.Namespace, Pod: c.Pod, Port: port, PodIPs: c.PodIPs}
	if !p.opts.named() {
		return t, nil
	}
	var err error
	t.Service, err = c.Service(ctx)
	return t, err
}

// discard gives back a claim of which no sandbox was made, whatever became of the context.
func (p *Provider) discard(ctx context.Context, c *claim.Claim) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return p.claims.Release(ctx, c)
}

// Close releases what is still held, then what the run made for itself: pools, templates, policies and its Lease. Sandboxes
// of Attach stay on the cluster, and end for this process.
func (p *Provider) Close(ctx context.Context) error {
	p.mu.Lock()
	p.down = true
	left := make([]*box, 0, len(p.boxes))
	for b := range p.boxes {
		left = append(left, b)
	}
	p.mu.Unlock()
	var wg sync.WaitGroup
	for _, b := range left {
		if b.claim.Attached() {
			_ = b.end() // nothing of it is the run's
			p.forget(b)
			continue
		}
		wg.Go(func() { _ = b.Release(ctx) }) // claims.Close tries again, and names what stays
	}
	wg.Wait()
	err := errors.Join(p.claims.Close(ctx), p.connector.Close())
	p.cluster.Close()
	return err
}

func (p *Provider) forget(b *box) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.boxes, b)
}

// Warnings names what the cluster does not enforce of spec.
func (p *Provider) Warnings(spec sandbox.Spec) []string {
	spec, err := p.opts.complete(spec)
	if err != nil {
		return nil // Acquire says it
	}
	return p.claims.Warnings(spec)
}

func closedError(op string) error {
	return &sandbox.Error{Op: op, Kind: sandbox.KindReleased, Err: errors.New("the provider is closed")}
}
