package fake

import (
	"context"
	"slices"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Point is where a Fault strikes.
type Point string

// The points.
const (
	Acquire     Point = "acquire"
	ExecStart   Point = "exec start"   // before the command starts: it certainly did not run
	ExecEnd     Point = "exec end"     // after the command ran and wrote its output: its result is lost
	Send        Point = "send"         // before anything is unpacked
	Receive     Point = "receive"      // Receive itself returns the error
	ReceiveRead Point = "receive read" // the stream breaks after its first 512 bytes
	Release     Point = "release"      // the sandbox stays, and a later Release may take it down
	Reset       Point = "reset"        // the sandbox is lost
	Close       Point = "close"        // before anything is released
)

// Fault is something that goes wrong, or takes long, at a Point. At most one Fault strikes a call at a Point: the
// first injected that matches.
type Fault struct {
	At Point
	// Name restricts the fault to sandboxes whose Spec has this name; empty: all.
	Name string
	// Skip lets this many matching calls through first.
	Skip int
	// Times is how many calls it strikes; zero: every one until Provider.Clear.
	Times int
	// Delay is waited first; the end of the context ends the wait, with its cause.
	Delay time.Duration
	// Hang waits until the context ends, or the sandbox is released.
	Hang bool
	// Kind and Err make the *sandbox.Error that is returned. Err nil: the call goes on after Delay.
	Kind sandbox.Kind
	Err  error
	// Gone takes the sandbox away at this point, as a deleted pod: this call and every later one but Release is
	// KindLost.
	Gone bool
	// Die kills the sandbox's first process at this point: the running commands end with SandboxDied, later ones
	// are KindLost.
	Die bool
}

// Inject switches f on, after those that are on already.
func (p *Provider) Inject(f Fault) {
	p.mu.Lock()
	p.faults = append(p.faults, &f)
	p.mu.Unlock()
}

// Clear switches every fault off. Calls that hang go on hanging.
func (p *Provider) Clear() {
	p.mu.Lock()
	p.faults = nil
	p.mu.Unlock()
}

// pick returns the fault that strikes this call, or nil.
func (p *Provider) pick(at Point, s *Sandbox) *Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, f := range p.faults {
		if f.At != at || f.Name != "" && (s == nil || s.spec.Name != f.Name) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				p.faults = slices.Delete(p.faults, i, i+1)
			}
		}
		return f
	}
	return nil
}

// strike makes the fault of this call, if there is one, happen. s is nil at Close.
func (p *Provider) strike(ctx context.Context, at Point, s *Sandbox) error {
	f := p.pick(at, s)
	if f == nil {
		return nil
	}
	var released <-chan struct{}
	if s != nil && at != Release {
		released = s.ctx.Done()
	}
	var timer <-chan time.Time
	if !f.Hang {
		timer = time.After(f.Delay)
	}
	select {
	case <-timer:
	case <-released:
		return s.check(string(at))
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	switch {
	case f.Gone && s != nil:
		s.Lose()
		return s.check(string(at))
	case f.Die && s != nil:
		s.Die()
		return nil
	case f.Err != nil:
		e := &sandbox.Error{Op: string(at), Kind: f.Kind, Err: f.Err, Unstarted: at == ExecStart}
		if s != nil {
			e.ID = s.id
		}
		return e
	}
	return nil
}
