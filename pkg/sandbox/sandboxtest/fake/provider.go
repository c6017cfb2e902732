package fake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Provider makes sandboxes in memory.
type Provider struct {
	opts     Options
	programs map[string]Program

	mu     sync.Mutex
	closed bool
	seq    int64
	live   map[*Sandbox]struct{}
	stats  Stats
	faults []*Fault
}

// Open returns a provider without faults. The error is for a Run.ID that no sandbox could be named after.
func Open(_ context.Context, o Options) (*Provider, error) {
	if len(o.ID) > 24 {
		return nil, &sandbox.Error{Op: "open", Kind: sandbox.KindInvalid, Err: fmt.Errorf("run id %q is longer than 24 characters", o.ID)}
	}
	o.ID = cmp.Or(o.ID, "fake")
	all := programs()
	maps.Copy(all, o.Programs)
	return &Provider{opts: o, programs: all, live: map[*Sandbox]struct{}{}}, nil
}

// Acquire makes a sandbox at once, unless a Fault says otherwise.
func (p *Provider) Acquire(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	s, err := p.acquire(ctx, spec)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil && p.closed {
		err = errors.New("the provider is closed")
	}
	if err != nil {
		if s != nil {
			s.stop(errReleased)
		}
		p.stats.Refused++
		return nil, asError(ctx, "acquire", "", sandbox.KindUnavailable, err)
	}
	p.seq++
	s.n = p.seq
	s.id = p.opts.ID + "-" + strconv.FormatInt(s.n, 10)
	p.live[s] = struct{}{}
	p.stats.Acquired++
	p.stats.Live++
	p.stats.MostLive = max(p.stats.MostLive, p.stats.Live)
	return s, nil
}

func (p *Provider) acquire(ctx context.Context, spec sandbox.Spec) (*Sandbox, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if p.opts.Networks != nil && spec.Network != "" && !slices.Contains(p.opts.Networks, spec.Network) {
		return nil, &sandbox.Error{Op: "acquire", Kind: sandbox.KindUnsupported, Err: fmt.Errorf("network %q is not one of %q", spec.Network, p.opts.Networks)}
	}
	s := newSandbox(p, spec)
	return s, p.strike(ctx, Acquire, s)
}

// Close releases every sandbox that is still held.
func (p *Provider) Close(ctx context.Context) error {
	if err := p.strike(ctx, Close, nil); err != nil {
		return asError(ctx, "close", "", sandbox.KindInternal, err)
	}
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	var errs []error
	for _, s := range p.Sandboxes() {
		errs = append(errs, s.Release(ctx))
	}
	return errors.Join(errs...)
}

// Warnings names the limits of spec that differ from the defaults and that the fake does not enforce.
func (p *Provider) Warnings(spec sandbox.Spec) []string {
	l, d := spec.Limits, sandbox.DefaultLimits
	var lines []string
	for _, v := range []struct {
		name         string
		is, default_ int64
	}{{"cpu", l.CPU, d.CPU}, {"memory", l.Memory, d.Memory}, {"pids", l.PIDs, d.PIDs}, {"files", l.Files, d.Files}} {
		if v.is != 0 && v.is != v.default_ {
			lines = append(lines, fmt.Sprintf("the fake provider does not enforce the limit %s", v.name))
		}
	}
	return lines
}

// Stats returns what was counted so far.
func (p *Provider) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Sandboxes returns those that were acquired and are not released, in the order they were acquired.
func (p *Provider) Sandboxes() []*Sandbox {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*Sandbox, 0, len(p.live))
	for s := range p.live {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *Sandbox) int { return cmp.Compare(a.n, b.n) })
	return all
}

func (p *Provider) count(n *int64) {
	p.mu.Lock()
	*n++
	p.mu.Unlock()
}

func (p *Provider) forget(s *Sandbox) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, held := p.live[s]; held {
		delete(p.live, s)
		p.stats.Live--
		p.stats.Released++
	}
}

// asError makes err an *Error of kind, unless it is one; the end of ctx stays recognisable by its cause.
func asError(ctx context.Context, op, id string, kind sandbox.Kind, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*sandbox.Error](err); ok {
		return err
	}
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return err
	}
	return &sandbox.Error{Op: op, ID: id, Kind: kind, Err: err}
}
