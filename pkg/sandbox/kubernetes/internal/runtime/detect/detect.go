// Package detect finds the runtime of a sandbox for which the recipe says `auto`, and whether the one is there that it names. It
// asks what is cheapest first, and asks the next when that does not answer at once: a wrong guess costs a moment, not a
// time limit. What it finds holds for all pods of the same template, for which the caller keeps it.
package detect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/runtime/sandboxd"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

// The runtimes, as recipes name them.
const (
	Python   = "python"
	Sandboxd = "sandboxd"
	Exec     = "exec"
)

// Options of Detect.
type Options struct {
	Connector connect.Connector
	// Target is the sandbox; its port is the runtime's where the recipe says one, else zero.
	Target connect.Target
	// Ports are those that the pod's containers declare, where they are known: what listens there is asked first, and may
	// take its time to start.
	Ports []int
	// Paths is what the transports of sandboxd share.
	Paths *sandboxd.Paths
	// Exec is the sandbox by pods/exec, the last resort.
	Exec shell.Transport
	// Only is the runtime where the recipe names one with a server: whether it is there is all that is looked at, and it may take
	// its time to start.
	Only string
	// Patience is for what has to answer: pods/exec, the way to sandboxes, and three times as long for a runtime that the recipe
	// names, which may still be starting. Zero: 20 s.
	Patience time.Duration
}

func (o Options) patience() time.Duration { return cmp.Or(o.Patience, 20*time.Second) }

// Found is the runtime of a sandbox.
type Found struct {
	Runtime string
	Port    int    // zero for Exec
	Reason  string // what showed it, for people
}

func (f Found) String() string {
	if f.Port == 0 {
		return f.Runtime
	}
	return fmt.Sprintf("%s on port %d", f.Runtime, f.Port)
}

// Times of the search.
const (
	patience = 150 * time.Millisecond // until the next is asked as well
	limit    = 2 * time.Second        // for an answer
	settle   = 4 * time.Second        // for an answer of a server that the pod declares, and that may still be starting
)

// Detect finds the runtime. The error is a *sandbox.Error that names what was asked and how each answered, or ctx's cause.
// A way to sandboxes that does not work is an error even where pods/exec would: the user asked for that way.
func Detect(ctx context.Context, o Options) (Found, error) {
	if o.Only != Sandboxd { // which is not reached through the router, and needs no right to look for it
		if err := o.Connector.Ready(ctx); err != nil {
			return Found{}, o.noWay(ctx, err)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	servers := o.servers()
	answers := make(chan answer, len(servers))
	asked := 0
	ask := func() {
		if asked < len(servers) {
			c := servers[asked]
			asked++
			go func() { answers <- c.answer(ctx) }()
		}
	}
	ask()
	var failed []answer
	for len(failed) < len(servers) {
		select {
		case a := <-answers:
			if a.err == nil {
				return a.Found, nil
			}
			if way, ok := errors.AsType[*wayError](a.err); ok {
				return Found{}, o.noWay(ctx, way.err)
			}
			failed = append(failed, a)
			ask()
		case <-time.After(patience):
			ask()
		case <-ctx.Done():
			return Found{}, context.Cause(ctx)
		}
	}
	if o.Only != "" {
		return Found{}, o.nothing(failed)
	}
	if err := o.stands(ctx); err != nil {
		return Found{}, o.noWay(ctx, err)
	}
	a := o.exec().answer(ctx)
	switch {
	case a.err == nil:
		return a.Found, nil
	case ctx.Err() != nil:
		return Found{}, context.Cause(ctx)
	}
	return Found{}, o.nothing(append(failed, a))
}

// wayError is one of the way to sandboxes, which says nothing of the runtime.
type wayError struct{ err error }

func (w *wayError) Error() string { return w.err.Error() }
func (w *wayError) Unwrap() error { return w.err }

// noWay is the error where the way to sandboxes does not work.
func (o Options) noWay(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	kind := sandbox.KindUnavailable
	if e, ok := errors.AsType[*sandbox.Error](err); ok {
		kind, err = e.Kind, e.Err
	}
	return &sandbox.Error{Op: "connect", ID: o.Target.Sandbox, Kind: kind, Err: fmt.Errorf(
		"the way to sandboxes that the flags choose does not work: %w; correct them, or give the sandbox runtime: exec (or sandboxd), which does without", err)}
}

// nothing is the error where no runtime answers.
func (o Options) nothing(failed []answer) error {
	var all strings.Builder
	kind := sandbox.KindUnavailable
	for _, a := range failed {
		fmt.Fprintf(&all, "; %s: %v", a.Found, a.err)
		if e, ok := errors.AsType[*sandbox.Error](a.err); ok && a.Runtime == Exec {
			kind = e.Kind
		}
	}
	if o.Only != "" { // nor will it in the next sandbox
		return &sandbox.Error{Op: "detect", ID: o.Target.Sandbox, Kind: sandbox.KindUnsupported, Err: fmt.Errorf(
			"the runtime does not answer in pod %s; correct the sandbox's runtime and port%s", o.Target.Pod, &all)}
	}
	return &sandbox.Error{Op: "detect", ID: o.Target.Sandbox, Kind: kind, Err: fmt.Errorf(
		"no runtime answers in pod %s; name it, and its port if it has another, with the sandbox's runtime and port%s", o.Target.Pod, &all)}
}
