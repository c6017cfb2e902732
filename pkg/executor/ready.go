package executor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/internal/mask"
	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/plan"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// How long is waited between two looks whether a step is ready: at first, and at most.
const (
	firstLook = 5 * time.Millisecond
	maxLook   = 250 * time.Millisecond
)

// readiness waits until a background step is ready.
type readiness struct {
	t       *try
	dir     string // of the step
	timeout time.Duration
	what    string                                                        // is waited for, for people
	probe   func(ctx context.Context) (ready bool, why string, err error) // nil: the output tells
	match   *lineMatch                                                    // of the output; nil: that is not asked
	lines   chan struct{}                                                 // closed when a line matched; nil: as match
}

// prepare interpolates what is waited for, before the command starts.
func (r *readiness) prepare() (err error) {
	ready := r.t.s.Ready
	if ready == nil {
		return nil
	}
	if r.timeout, err = plan.Duration(ready.Timeout, envFor(ready.Timeout, r.t.env.names)); err != nil {
		return fmt.Errorf("timeout: %w", err)
	}
	switch {
	case ready.Port != nil:
		port, err := portNumber(ready.Port, r.t.env.names)
		if err != nil {
			return fmt.Errorf("port: %w", err)
		}
		r.what = fmt.Sprintf("port %d accepts connections", port)
		r.probe = func(ctx context.Context) (bool, string, error) { return r.port(ctx, port) }
	case ready.Command != nil:
		script, err := shellText(ready.Command, r.t.env.names)
		if err != nil {
			return fmt.Errorf("command: %w", err)
		}
		r.what = "its ready command succeeds"
		r.probe = func(ctx context.Context) (bool, string, error) { return r.command(ctx, script) }
	case ready.Output != nil:
		source, err := text(ready.Output, r.t.env.names)
		if err != nil {
			return fmt.Errorf("output: %w", err)
		}
		re, err := regexp.Compile(source)
		if err != nil {
			return fmt.Errorf("output: %w", err)
		}
		r.what = fmt.Sprintf("a line matches %q", source)
		r.lines = make(chan struct{})
		r.match = &lineMatch{re: re, found: r.lines}
		r.t.stdout.watch, r.t.stderr.watch = r.match.stream(), r.match.stream()
	}
	return nil
}

func portNumber(v *expr.Value, names func() expr.Env) (int, error) {
	value, err := v.Eval(envFor(v, names))
	if err != nil {
		return 0, err
	}
	text, err := expr.TextOf(value)
	if err != nil {
		return 0, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("%q is not a port from 1 to 65535", text)
	}
	return int(port), nil
}

// wait returns passed once the step is ready.
func (r *readiness) wait(bg *background) outcome {
	if r.probe == nil && r.match == nil {
		return passed()
	}
	limit := r.t.budget.soonest(time.Now(), r.timeout)
	ctx, cancel := limit.context(r.t.span.In(r.t.a.run.soft))
	defer cancel()
	done := bg.done
	probing, stop := context.WithCancel(ctx) // until the command ends: then nothing may come of a look that goes on
	defer stop()
	go func(over <-chan struct{}) {
		select {
		case <-bg.done:
			stop()
		case <-over:
		}
	}(probing.Done())
	why := ""
	for pause := firstLook; ; pause = min(pause*3/2, maxLook) {
		if r.probe != nil {
			ready, seen, err := r.probe(probing)
			switch {
			case ready:
				return passed()
			case err != nil && ctx.Err() == nil:
				if !bg.ended() { // a sandbox that is gone ends its commands too: what they say is nearer to the cause
					return refused(ctx, r.t.box, "see whether it is ready", event.ReasonExec, err)
				}
			case seen != "":
				why = seen
			}
		}
		if r.match != nil {
			r.match.glance(false)
		}
		select {
		case <-time.After(pause):
		case <-r.lines:
			return passed()
		case <-done:
			if o, over := r.ended(bg); over {
				return o
			}
			done, probing = nil, ctx // it has left something running that may become ready
		case <-ctx.Done():
			if done != nil && bg.ended() { // which is nearer to the cause
				if o, over := r.ended(bg); over {
					return o
				}
			}
			if done == nil {
				why = strings.TrimPrefix(why+"; the command itself had ended with exit status 0", "; ")
			}
			return r.late(ctx, limit, why)
		}
	}
}

// ended says what the end of the command means for one that is not ready.
func (r *readiness) ended(bg *background) (o outcome, over bool) {
	if r.match != nil {
		r.match.glance(true)
		select {
		case <-r.lines: // its last words
			return passed(), true
		default:
		}
	}
	o = bg.judge(false)
	if o.verdict == event.Passed && r.match == nil {
		return o, false
	}
	if o.verdict == event.Passed {
		o = failed(event.ReasonAssertion, "it ended before %s", r.what)
	} else if o.message != "" && o.verdict != event.NotRun {
		o.message = fmt.Sprintf("it ended before %s: %s", r.what, o.message)
	}
	return o, true
}

func (r *readiness) late(ctx context.Context, limit bound, why string) outcome {
	if _, ok := errors.AsType[*timeoutError](context.Cause(ctx)); !ok {
		return notRun(interruption)
	}
	name := limit.String()
	if limit.own > 0 {
		name = fmt.Sprintf("its ready timeout of %v", limit.own)
	}
	o := failed(event.ReasonTimeout, "timeout: not ready when %s was over: waited until %s", name, r.what)
	if why != "" {
		o.message += " (" + why + ")"
	}
	o.overall, o.cutShort = limit.outer(), limit.ofRun()
	return o
}

// command runs the ready command where and as the step itself is run, but for a shell that it is not written for.
func (r *readiness) command(ctx context.Context, script string) (bool, string, error) {
	shell := r.t.s.Shell
	if !r.t.s.QuotesValues {
		shell = []string{"sh", "-e"}
	}
	words := lastWords{mask: mask.Stream{Mask: r.t.a.run.mask}}
	res, err := r.t.box.exec(ctx, sandbox.Command{
		Argv: shell, Script: []byte(script + "\n"), Env: r.t.env.vars, Dir: r.dir, OutputLimit: probeOutput,
	}, nil, &words)
	if kind := sandbox.KindOf(err); err != nil && (kind == sandbox.KindNotFound || kind == sandbox.KindInvalid) {
		return false, cause(err).Error(), nil // the step itself meets it too, or has made it so
	}
	if err != nil || res.Exit == 0 {
		return err == nil, "", err
	}
	why := fmt.Sprintf("the command's last exit status was %d", res.Exit)
	if text := words.text(); text != "" {
		why += ": " + text
	}
	return false, why, nil
}

// probeOutput bounds what a probe may write.
const probeOutput = 4 << 20

// port looks for a listener in the sandbox's own network, by what its kernel says: that needs nothing in the sandbox
// but cat, and no connection is made that a server of one request would count. Ports of other sandboxes cannot be meant.
func (r *readiness) port(ctx context.Context, port int) (bool, string, error) {
	var table bytes.Buffer
	words := lastWords{mask: mask.Stream{Mask: r.t.a.run.mask}}
	_, err := r.t.box.exec(ctx, sandbox.Command{
		Argv: []string{"cat", "/proc/net/tcp", "/proc/net/tcp6"}, OutputLimit: probeOutput,
	}, &table, &words)
	if err != nil {
		return false, "", err
	}
	if listens(table.String(), port) {
		return true, "", nil
	}
	if table.Len() == 0 { // without IPv6 one of the two is missing, which does not matter
		return false, "cannot tell: " + words.text(), nil
	}
	return false, "nothing listens", nil
}

// listens says whether a table of /proc/net/tcp or tcp6 (proc_net_tcp.rst of the Linux kernel) has a socket in state
// LISTEN (0A) on the port.
func listens(table string, port int) bool {
	suffix := fmt.Sprintf(":%04X", port)
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 3 && f[3] == "0A" && strings.HasSuffix(f[1], suffix) {
			return true
		}
	}
	return false
}

// lastWords keeps the last line that was written to it, masked before it is cut.
type lastWords struct {
	mask mask.Stream
	tail []byte
}

func (w *lastWords) Write(p []byte) (int, error) {
	w.mask.Write(p, w.keep)
	return len(p), nil
}

func (w *lastWords) keep(p []byte) {
	const most = 512
	w.tail = append(w.tail, p...)
	if len(w.tail) > most {
		w.tail = append(w.tail[:0], w.tail[len(w.tail)-most:]...)
	}
}

func (w *lastWords) text() string {
	w.mask.Close(w.keep)
	text := strings.TrimSpace(validText(w.tail))
	return text[strings.LastIndexByte(text, '\n')+1:]
}
