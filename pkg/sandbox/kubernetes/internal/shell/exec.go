package shell

import (
	"cmp"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

const (
	// lateness is how long after its time limit, or after KILL, a command is left to its supervisor.
	lateness = 15 * time.Second
	// transferTime is the time limit of the commands that move files: code in the sandbox may hold them up. A stream that is
	// unpacked has a second more for each transferRate bytes.
	transferTime = 10 * time.Minute
	transferRate = 8 << 10
	// killPatience bounds how long a cancelled call waits for the kill of its command.
	killPatience = 15 * time.Second
	// preciseLimit is the time limit below which a command has a keeper from its start on.
	preciseLimit = 3 * time.Second
	// upPatience is how long a lock may be taken by a command whose supervisor is not up.
	upPatience = 15 * time.Second
)

// Exec runs a command: see sandbox.Sandbox.
func (s *Shell) Exec(ctx context.Context, cmd sandbox.Command, stdout, stderr io.Writer) (sandbox.Result, error) {
	if err := s.check(ctx, "exec"); err != nil {
		return sandbox.Result{}, err
	}
	ctx, _, end := s.scope(ctx)
	defer end()
	start := time.Now()
	res, err := s.exec(ctx, cmd, stdout, stderr)
	if errors.Is(err, errSpoilt) && s.gone("exec") == nil && ctx.Err() == nil {
		s.spoil(err)
		return sandbox.Result{Exit: 137, Signal: 9, SandboxDied: true, Duration: time.Since(start)}, nil
	}
	return res, s.wrap(ctx, "exec", err)
}

func (s *Shell) exec(ctx context.Context, cmd sandbox.Command, stdout, stderr io.Writer) (sandbox.Result, error) {
	if ctx.Err() != nil {
		return sandbox.Result{}, ctx.Err()
	}
	if err := cmd.Check(); err != nil {
		return sandbox.Result{}, problem(sandbox.KindInvalid, "%w", err)
	}
	select {
	case <-cmd.Stop:
		return sandbox.Result{Exit: 143, Signal: 15, Stopped: true}, nil
	default:
	}
	r := &run{s: s, cmd: cmd, id: s.nextID(), outs: [2]*output{
		{name: "stdout", w: stdout, limit: cmd.OutputLimit}, {name: "stderr", w: stderr, limit: cmd.OutputLimit},
	}}
	r.mark, _ = mark(s.marks.Add(1))
	defer r.drop(ctx)
	if err := r.prepare(ctx); err != nil {
		return sandbox.Result{}, err
	}
	r.began = time.Now()
	defer r.stdin.close()
	res, err := r.run(ctx)
	if err != nil && errors.Is(err, errRestarted) && s.gone("exec") == nil && ctx.Err() == nil {
		// What ran in the container ended its first process, or a limit did.
		return sandbox.Result{Exit: 137, Signal: 9, SandboxDied: true, Duration: time.Since(r.began)}, nil
	}
	lost := err != nil && sandbox.KindOf(err) == sandbox.KindLost // nothing answers, or nothing is left to be killed
	if err != nil && r.asked && !lost && s.gone("exec") == nil && !errors.Is(context.Cause(ctx), errReset) {
		r.destroy(ctx)
	}
	if err == nil {
		s.finish(r.id, int64(len(r.spec)+len(r.in)+len(r.script))+r.outs[0].seen+r.outs[1].seen)
	}
	return res, err
}

// run is one command.
type run struct {
	s     *Shell
	cmd   sandbox.Command
	id    string
	mark  int64
	outs  [2]*output
	stdin *pump
	began time.Time
	asked bool // it may have been started

	spec, in, part, script string // payloads

	kept     bool     // it has a keeper in the sandbox
	left     sync.Map // names of uploads that the sandbox may have, and has not taken yet
	stopping atomic.Bool
	killed   sandbox.Limit // killed from here, for this limit
	struck   atomic.Int64  // hundredths of a second after began: when a KILL was answered; zero: not yet
}

// prepare makes the payloads. What does not fit into one request is uploaded.
func (r *run) prepare(ctx context.Context) (err error) {
	room := MaxArgv - 2<<10 - len(script("start")) - len(script("supervise")) - len(script("keep")) // for all payloads together
	pack := func(what string, data []byte) (string, error) {
		if p := payload(data); len(p) <= room {
			room -= len(p)
			return p, nil
		}
		if len(data) > MaxPart {
			return "", problem(sandbox.KindInvalid, "%s has %d bytes, and may have %d", what, len(data), MaxPart)
		}
		return r.upload(ctx, what, data)
	}
	r.stdin = newPump(r.cmd.Stdin)
	first, all := r.stdin.first()
	spec := r.s.spec(r.cmd, r.mark, r.cmd.Stdin != nil && !all, len(r.cmd.Script) > 0)
	if r.spec, err = pack("spec", spec); err != nil {
		return err
	}
	if len(r.cmd.Script) > 0 {
		if r.script, err = pack("script", r.cmd.Script); err != nil {
			return err
		}
	}
	switch {
	case r.cmd.Stdin == nil:
	case all:
		r.in, err = pack("in", first)
	default:
		r.part, err = pack("part", first)
	}
	return err
}

// upload makes a payload of data that is too much for a request.
func (r *run) upload(ctx context.Context, what string, data []byte) (string, error) {
	r.left.Store(r.uploads()+what, nil) // also if there is no answer
	return r.s.upload(ctx, r.uploads()+what, data)
}

// uploads is how the names of the command's uploads begin.
func (r *run) uploads() string { return "sbx-" + r.id + "-" }

// taken notes that the sandbox has taken a payload.
func (r *run) taken(payload string) {
	if p, ok := strings.CutPrefix(payload, "@"); ok {
		name, _, _ := strings.Cut(path.Base(p), ".") // of one that went in pieces more follows
		r.left.Delete(name)
	}
}

// drop removes uploads that the sandbox did not take: there may be secrets in them.
func (r *run) drop(ctx context.Context) {
	some := false
	r.left.Range(func(_, _ any) bool { some = true; return false })
	if !some {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killPatience)
	defer cancel()
	_, _ = r.s.call(ctx, "drop", r.uploads()) // where that fails, the reset or the sandbox's end removes them
}

// run starts the command and follows it to its end.
func (r *run) run(ctx context.Context) (sandbox.Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	helpers := newHelpers(cancel)
	defer helpers.wait()
	defer cancel(nil)

	r.asked = true
	ended := make(chan struct{})
	defer close(ended)
	helpers.start(func() error { return r.watchStop(ctx, ended) })
	if r.part != "" {
		helpers.start(func() error { return r.feed(ctx, ended) })
	}
	asked := r.began             // what an answer says was so then or later, however long it was on its way
	var fresh, running time.Time // since when it is said to be new, and to run
	a, err := r.start(ctx)
	for quick := 0; err == nil; {
		for i, o := range r.outs {
			o.take(a.parts[i+1], a.asked)
		}
		if over := r.outs[0].over || r.outs[1].over; over && r.killed == "" && a.state != stateEnd {
			r.killed = sandbox.LimitOutput
			if _, err = r.kill(ctx, 9, "output", 0); err != nil {
				break
			}
		}
		switch a.state {
		case stateEnd:
			if r.outs[0].more || r.outs[1].more { // which they are not unless something new came
				a, err = r.poll(ctx, 0)
				continue
			}
			return r.result(a)
		case stateRun:
			running = cmp.Or(running, time.Now())
		case stateNew:
			if fresh = cmp.Or(fresh, time.Now()); asked.Sub(fresh) > upPatience {
				return sandbox.Result{}, problem(sandbox.KindLost, "the start of the command was cut off, and it is not started a second time")
			}
		case stateOver:
			return sandbox.Result{}, errReset
		default: // dead, or nothing is left of it: what ran in the sandbox did that
			r.destroy(ctx)
			return r.gone(r.killed), nil
		}
		if struck := r.struck.Load(); struck > 0 && asked.Sub(r.began) > time.Duration(struck)*10*time.Millisecond+lateness {
			r.destroy(ctx) // its supervisor does not say that it is over, though nothing survives a KILL
			return r.gone(r.killed), nil
		}
		if r.cmd.Timeout > 0 && !running.IsZero() && asked.Sub(running) > r.cmd.Timeout+lateness {
			r.destroy(ctx)
			return r.gone(sandbox.LimitTimeout), nil
		}
		// Many small answers in a row are not hurried.
		if quick++; a.size > 64<<10 {
			quick = 0
		}
		if err = pause(ctx, time.Duration(min(quick, 15))*10*time.Millisecond); err == nil {
			wait, done := r.s.wait()
			asked = time.Now()
			a, err = r.poll(ctx, wait)
			done()
			if time.Since(asked) > time.Second {
				quick = 0
			}
		}
	}
	if helper := helpers.failed(); helper != nil {
		err = helper
	}
	return sandbox.Result{}, err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// poll waits for more output, or the end. The first one brings the command its keeper.
func (r *run) poll(ctx context.Context, wait time.Duration) (answer, error) {
	keeper := ""
	if !r.kept {
		keeper = script("keep")
	}
	a, err := r.s.ask(ctx, "poll", always, func(size int64) []string {
		args := []string{r.id, number(hundredths(wait)), number(r.outs[0].size()), number(r.outs[1].size())}
		for _, o := range r.outs {
			first, blocks := o.ask(size)
			args = append(args, number(first), number(blocks))
		}
		return append(args, keeper)
	})
	r.kept = r.kept || err == nil && slices.Contains(a.lines, "kept")
	return a, err
}

// kill sends a signal to all that the command started. A command that has not started never will.
func (r *run) kill(ctx context.Context, signal int, reason string, grace time.Duration) (answer, error) {
	a, err := r.s.call(ctx, "kill", r.id, number(r.mark), strconv.Itoa(signal), reason, number(hundredths(grace)))
	if err == nil && signal == 9 {
		r.struck.CompareAndSwap(0, hundredths(time.Since(r.began))+1)
	}
	return a, err
}

// destroy kills all that the command started though the call is over. Where that fails the sandbox's end is what helps.
func (r *run) destroy(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killPatience)
	defer cancel()
	_, _ = r.kill(ctx, 9, "kill", 0)
}

// gone is the result of a command that has no record of its end, or should have one.
func (r *run) gone(limit sandbox.Limit) sandbox.Result {
	return sandbox.Result{Exit: 137, Signal: 9, Limit: limit, Duration: time.Since(r.began), Stopped: r.stopping.Load()}
}

// result makes a Result of the record of the command's end.
func (r *run) result(a answer) (sandbox.Result, error) {
	switch a.text {
	case "nodir .":
		return sandbox.Result{}, problem(sandbox.KindNotFound, "working directory %q does not exist", r.cmd.Dir)
	case "notdir .":
		return sandbox.Result{}, problem(sandbox.KindInvalid, "working directory %q is no directory that can be entered", r.cmd.Dir)
	}
	if text, failed := strings.CutPrefix(a.text, "fail "); failed {
		return sandbox.Result{}, problem(sandbox.KindNoSpace, "%s", cut(text))
	}
	e, err := parseEnd(a.text)
	if err != nil { // nobody but the code that ran can have written that
		e = ended{exit: 137, signal: 9}
	}
	res := sandbox.Result{
		Exit: e.exit, Signal: e.signal, Limit: r.killed,
		Duration: min(time.Duration(e.hundredths)*10*time.Millisecond, time.Since(r.began)),
	}
	switch {
	case r.outs[0].over || r.outs[1].over:
		res.Limit = sandbox.LimitOutput
	case e.why == "timeout":
		res.Limit = sandbox.LimitTimeout
	case e.why == "output":
		res.Limit = sandbox.LimitOutput
	case e.why == "disk":
		res.Limit = sandbox.LimitDisk
	case e.oom && e.exit != 0 && r.killed == "":
		res.Limit = sandbox.LimitOOM
	}
	res.Stopped = e.stopped
	if res.Limit == sandbox.LimitTimeout {
		res.Duration = max(res.Duration, r.cmd.Timeout)
		if res.Exit == 0 { // it heeded the end of its time, but came late
			res.Exit, res.Signal = 137, 9
		}
	}
	for _, o := range r.outs {
		if o.err != nil {
			return res, o.err
		}
	}
	return res, nil
}
