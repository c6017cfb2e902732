package local

import (
	"context"
	"errors"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/wire"
)

// Exec runs a command.
func (s *Sandbox) Exec(ctx context.Context, cmd sandbox.Command, stdout, stderr io.Writer) (sandbox.Result, error) {
	if err := s.check(ctx, "exec"); err != nil {
		return sandbox.Result{}, err
	}
	if err := cmd.Check(); err != nil {
		return sandbox.Result{}, &sandbox.Error{Op: "exec", ID: s.id, Kind: sandbox.KindInvalid, Err: err}
	}
	st, err := openStreams(cmd, stdout, stderr)
	if err != nil {
		return sandbox.Result{}, &sandbox.Error{Op: "exec", ID: s.id, Kind: sandbox.KindInternal, Err: err}
	}
	defer st.close()
	seq, ch, err := s.client.begin(wire.Request{Exec: &wire.Exec{
		ID: s.id, Argv: cmd.Argv, Script: cmd.Script, Env: cmd.Env, Dir: cmd.Dir, Stdin: cmd.Stdin != nil,
	}}, st.theirs...)
	st.closeTheirs()
	if err != nil {
		err = wrap(ctx, "exec", s.id, err)
		if e, ok := errors.AsType[*sandbox.Error](err); ok {
			e.Unstarted = true // the spawner has not got the whole request
		}
		return sandbox.Result{}, err
	}
	st.run()
	kill := func(sig unix.Signal) int {
		// Where it fails the spawner is gone, and with it everything that it could have killed.
		reply, _, _ := s.client.call(context.WithoutCancel(ctx), wire.Request{Signal: &wire.Signal{ID: s.id, Exec: seq, Signal: int(sig)}})
		return reply.Signaled
	}
	a, end := supervise(ctx, cmd, st, ch, s.released, kill)
	if end.released {
		return sandbox.Result{}, s.errReleased("exec")
	}
	reply, _, err := a.result()
	if err == nil {
		err = st.drain()
		end.lateLimit(st)
	}
	switch {
	case ctx.Err() != nil && end.cancelled:
		return sandbox.Result{}, context.Cause(ctx)
	case err != nil:
		return sandbox.Result{}, wrap(ctx, "exec", s.id, err)
	}
	return result(*reply.Ended, end), nil
}

// ending says what ended a command, other than itself.
type ending struct {
	limit     sandbox.Limit
	stopped   bool
	cancelled bool
	released  bool
}

// lateLimit looks at what only came out of the pipes when the command had ended.
func (e *ending) lateLimit(st *streams) {
	select {
	case <-st.over:
		if *e == (ending{}) {
			e.limit = sandbox.LimitOutput
		}
	default:
	}
}

// supervise waits for the answer to a command, and ends the command when the time has come. kill signals all that the
// command started, says how many processes that were, and for KILL returns when none is left.
func supervise(ctx context.Context, cmd sandbox.Command, st *streams, ch chan answer, released <-chan struct{}, kill func(unix.Signal) int) (a answer, end ending) {
	var timeout, grace, look <-chan time.Time
	if cmd.Timeout > 0 {
		t := time.NewTimer(cmd.Timeout)
		defer t.Stop()
		timeout = t.C
	}
	stop, done, over := cmd.Stop, ctx.Done(), st.over
	answered := false
	destroy := func() {
		timeout, grace, look, stop, over = nil, nil, nil, nil, nil
		kill(unix.SIGKILL)
	}
	for !answered || grace != nil {
		select {
		case a = <-ch:
			answered, ch, timeout, stop, over = true, nil, nil, nil, nil
			if grace != nil { // the main process heeded TERM; what it left has its grace too
				t := time.NewTicker(20 * time.Millisecond)
				defer t.Stop()
				look = t.C
			}
		case <-released:
			if answered {
				return a, end
			}
			select {
			case a = <-ch:
				if e := a.reply.Ended; a.err == nil && e != nil && e.Status != int(unix.SIGKILL) && end == (ending{}) {
					return a, end // it had ended before
				}
			case <-time.After(releaseTimeout):
			}
			end.released = true
			return a, end
		case <-done:
			done, end.cancelled = nil, true
			destroy()
		case <-timeout:
			end.limit = sandbox.LimitTimeout
			destroy()
		case <-over:
			end.limit = sandbox.LimitOutput
			destroy()
		case <-stop:
			stop, end.stopped = nil, true
			if cmd.Grace <= 0 {
				destroy()
				continue
			}
			go kill(unix.SIGTERM)
			t := time.NewTimer(cmd.Grace)
			defer t.Stop()
			grace = t.C
		case <-grace:
			destroy()
		case <-look:
			if kill(0) == 0 {
				grace = nil
			}
		}
	}
	return a, end
}

func result(e wire.Ended, end ending) sandbox.Result {
	ws := unix.WaitStatus(e.Status)
	r := sandbox.Result{
		Exit: ws.ExitStatus(), Limit: e.Limit, Stopped: end.stopped, SandboxDied: e.Died,
		Duration: e.Duration, CPU: e.CPU, MaxRSS: e.MaxRSS,
	}
	if ws.Signaled() {
		r.Signal = int(ws.Signal())
		r.Exit = 128 + r.Signal
	}
	if end.limit != sandbox.LimitNone {
		r.Limit = end.limit
	}
	return r
}
