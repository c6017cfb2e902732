package fake

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// group is one command and all that it started, in the background too. It ends by itself or by the first ending.
type group struct {
	s      *Sandbox
	life   *life
	ctx    context.Context // what the processes run under
	cancel context.CancelFunc
	stdout limited
	stderr limited
	limit  int64           // of output
	fulls  int             // the disk's count of "no space" at the start
	killed context.Context // ends when nothing more may run, a trap neither
	kill   context.CancelFunc
	timers []func() bool

	mu         sync.Mutex
	ended      *ending
	struck     sandbox.Limit // by Process.Strike, without ending
	stopped    bool
	trap       *string // of TERM: empty is ignore
	background bool    // something was started with &: it outlives the command
}

// ending is why a group was ended from outside its main process's own exit.
type ending struct {
	signal int
	limit  sandbox.Limit
	trap   *string // what the shell still runs
	err    error
}

func newGroup(s *Sandbox, cmd sandbox.Command, stdout, stderr io.Writer) *group {
	g := &group{s: s, life: s.life.Load(), limit: cmd.OutputLimit}
	g.killed, g.kill = context.WithCancel(g.life.ctx)
	g.ctx, g.cancel = context.WithCancel(g.killed)
	g.stdout, g.stderr = limited{g: g, w: stdout}, limited{g: g, w: stderr}
	g.fulls = g.life.fulls()
	g.timers = append(g.timers, context.AfterFunc(g.life.ctx, func() { g.end(ending{signal: 9, err: s.whyEnded()}) }))
	if cmd.Timeout > 0 {
		t := time.AfterFunc(cmd.Timeout, func() { g.end(ending{signal: 9, limit: sandbox.LimitTimeout}) })
		g.timers = append(g.timers, t.Stop)
	}
	if cmd.Stop != nil {
		stop := make(chan struct{})
		g.timers = append(g.timers, func() bool { close(stop); return true })
		go g.awaitStop(cmd.Stop, stop, cmd.Grace)
	}
	return g
}

// whyEnded is the error of a command that its sandbox's end has cut off, nil where that is the Result's to say: it died,
// or was reset.
func (s *Sandbox) whyEnded() error {
	if s.died() && !s.released.Load() {
		return nil
	}
	return s.check("exec")
}

func (g *group) awaitStop(stop, finished <-chan struct{}, grace time.Duration) {
	select {
	case <-stop:
	case <-finished:
		return
	}
	g.mu.Lock()
	g.stopped = g.ended == nil
	g.mu.Unlock()
	if grace <= 0 { // no time for what TERM would do
		g.end(ending{signal: 9})
		return
	}
	g.signal(int(syscall.SIGTERM))
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-timer.C:
		g.end(ending{signal: 9})
	case <-finished:
	}
}

// signal delivers a signal to the group: TERM may be trapped or ignored, the rest kills.
func (g *group) signal(n int) {
	g.mu.Lock()
	trap := g.trap
	g.mu.Unlock()
	if n == int(syscall.SIGTERM) && trap != nil {
		if *trap != "" {
			g.end(ending{trap: trap})
		}
		return
	}
	g.end(ending{signal: n})
}

// end kills what the group runs, for the first reason given; one that a trap answers gives way to a later one.
func (g *group) end(e ending) {
	g.mu.Lock()
	first := g.ended == nil || g.ended.trap != nil && e.trap == nil
	if first {
		g.ended = &e
	}
	g.mu.Unlock()
	if !first {
		return
	}
	if e.trap == nil {
		g.kill()
	}
	g.cancel()
}

func (g *group) strike(l sandbox.Limit) {
	if l == sandbox.LimitOOM {
		g.end(ending{signal: 9, limit: l})
		return
	}
	g.mu.Lock()
	g.struck = l
	g.mu.Unlock()
}

func (g *group) ignoreTerm() { g.setTrap("") }

func (g *group) setTrap(body string) {
	g.mu.Lock()
	g.trap = &body
	g.mu.Unlock()
}

// outlives says that the command started something in the background.
func (g *group) outlives() {
	g.mu.Lock()
	g.background = true
	g.mu.Unlock()
}

// trapped returns the body of the trap that has to run, or nil.
func (g *group) trapped() *string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended == nil {
		return nil
	}
	return g.ended.trap
}

// finish closes the streams and says how the command ended, exit being what its main process returned.
func (g *group) finish(exit int) (sandbox.Result, error) {
	for _, stop := range g.timers {
		stop()
	}
	g.stdout.close()
	g.stderr.close()
	g.mu.Lock()
	defer g.mu.Unlock()
	res := sandbox.Result{Exit: exit, Limit: g.struck, Stopped: g.stopped}
	switch {
	case g.ended != nil:
	case g.life.ctx.Err() != nil: // the hook that notes it may not have run yet
		g.ended = &ending{signal: 9, err: g.s.whyEnded()}
	case !g.background:
		g.kill()
	}
	if e := g.ended; e != nil && e.trap == nil {
		res = sandbox.Result{Exit: 128 + e.signal, Signal: e.signal, Limit: e.limit, Stopped: g.stopped}
		if e.err != nil {
			return sandbox.Result{}, e.err
		}
	}
	res.SandboxDied = g.s.died()
	if res.Exit != 0 && g.life.fulls() > g.fulls {
		res.Limit = cmp.Or(res.Limit, sandbox.LimitDisk)
	}
	return res, nil
}

var errOutputClosed = errors.New("broken pipe")

// limited passes output on until its limit, or until the command has ended.
type limited struct {
	g    *group
	mu   sync.Mutex
	w    io.Writer
	n    int64
	shut bool
}

func (l *limited) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut || l.g.ctx.Err() != nil && l.g.trapped() == nil {
		return 0, errOutputClosed
	}
	pass := b
	over := l.g.limit > 0 && l.n+int64(len(b)) > l.g.limit
	if over {
		pass = b[:l.g.limit-l.n]
	}
	l.n += int64(len(pass))
	if l.w != nil && len(pass) > 0 {
		if _, err := l.w.Write(pass); err != nil {
			l.g.end(ending{signal: 9, err: err})
			return 0, err
		}
	}
	if over {
		l.g.end(ending{signal: 9, limit: sandbox.LimitOutput})
		return len(pass), errOutputClosed
	}
	return len(b), nil
}

func (l *limited) close() {
	l.mu.Lock()
	l.shut = true
	l.mu.Unlock()
}
