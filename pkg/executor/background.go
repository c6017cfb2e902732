package executor

import (
	"context"
	"sync"
	"time"

	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// background is a step that runs while later ones do.
type background struct {
	try   *try
	limit bound
	stop  context.CancelFunc
	done  chan struct{} // closed once res and err are there
	res   sandbox.Result
	err   error
}

// runInBackground starts the command and waits until it is ready.
func (t *try) runInBackground(cmd sandbox.Command, own time.Duration) (o outcome, running bool) {
	now := time.Now()
	if t.budget.soonest(now, 0).left(now) < 0 {
		return timedOut(t.budget.soonest(now, 0), "it was not started"), false
	}
	bg := &background{try: t, done: make(chan struct{})}
	if cmd.Timeout = own; own > 0 {
		bg.limit = budget{}.soonest(now, own)
	}
	var stopping context.Context
	stopping, bg.stop = context.WithCancel(t.a.run.soft) // an interruption stops it too
	cmd.Stop, cmd.Grace = stopping.Done(), termGrace
	ready := &readiness{t: t, dir: cmd.Dir}
	if err := ready.prepare(); err != nil {
		bg.stop()
		return failed(event.ReasonAssertion, "ready: %v", err), false
	}
	t.a.backgrounds.running.Go(func() {
		defer close(bg.done)
		defer func() {
			if v := recover(); v != nil {
				bg.err = asPanic(v)
			}
		}()
		bg.res, bg.err = t.box.exec(t.span.In(t.a.run.hard), cmd, &t.stdout, &t.stderr)
	})
	if o := ready.wait(bg); o.verdict != event.Passed {
		bg.stop()
		<-bg.done
		ended := bg.judge(true)
		o.stdout, o.stderr, o.duration = ended.stdout, ended.stderr, ended.duration
		return o, false
	}
	t.a.backgrounds.add(bg)
	return outcome{}, true
}

// ended says whether the command has ended.
func (bg *background) ended() bool {
	select {
	case <-bg.done:
		return true
	default:
		return false
	}
}

// judge is the outcome of a command that has ended. stopped says that it was told to.
func (bg *background) judge(stopped bool) outcome {
	return bg.try.judge(bg.res, bg.err, bg.limit, stopped)
}

// backgrounds are the background steps of one try of a sample.
type backgrounds struct {
	running sync.WaitGroup // their commands

	mu   sync.Mutex
	list []*background
}

func (b *backgrounds) add(bg *background) {
	b.mu.Lock()
	b.list = append(b.list, bg)
	b.mu.Unlock()
}

// take removes and returns those that have ended, or all.
func (b *backgrounds) take(all bool) []*background {
	b.mu.Lock()
	defer b.mu.Unlock()
	var taken, rest []*background
	for _, bg := range b.list {
		if all || bg.ended() {
			taken = append(taken, bg)
		} else {
			rest = append(rest, bg)
		}
	}
	b.list = rest
	return taken
}

// abandon waits for commands whose sandboxes were released, which happens after a panic only.
func (b *backgrounds) abandon() {
	b.running.Wait()
	for _, bg := range b.take(true) {
		bg.stop()
		bg.try.close()
	}
}

// reapBackgrounds records the background steps that have ended by themselves.
func (a *attempt) reapBackgrounds() {
	for _, bg := range a.backgrounds.take(false) {
		bg.stop()
		a.publish(bg.try.s, bg.try.end(bg.judge(false)))
	}
}

// stopBackgrounds ends what still runs, all at once, and records it.
func (a *attempt) stopBackgrounds() {
	a.reapBackgrounds()
	list := a.backgrounds.take(true)
	for _, bg := range list {
		bg.stop()
	}
	for _, bg := range list {
		<-bg.done
		a.publish(bg.try.s, bg.try.end(bg.judge(true)))
	}
}
