package executor

import (
	"context"
	"fmt"
	"time"
)

// grace is how much longer finally and collect may take where the sample's, or the run's, time is over.
const grace = time.Minute

// collectGrace is the part of it that finally leaves to collect.
const collectGrace = 15 * time.Second

// budget is the time that the steps of one part have. The zero budget has no end.
type budget struct {
	sample      time.Time // when the sample's time is over
	sampleLimit time.Duration
	run         time.Time // when the run's is
	runLimit    time.Duration
	extra       time.Duration // beyond both
}

// bound is the soonest of several limits.
type bound struct {
	at  time.Time     // zero: there is none
	own time.Duration // what was asked for the thing itself, where that is the soonest
	b   budget
}

// soonest returns the soonest end of something that may take own itself; zero is without a limit of its own.
func (b budget) soonest(now time.Time, own time.Duration) bound {
	at := b.sample
	if !b.run.IsZero() && (at.IsZero() || b.run.Before(at)) {
		at = b.run
	}
	if !at.IsZero() {
		at = at.Add(b.extra)
	}
	if own > 0 && (at.IsZero() || now.Add(own).Before(at)) {
		return bound{at: now.Add(own), own: own, b: b}
	}
	return bound{at: at, b: b}
}

// outer says whether the limit is the sample's or the run's, after which no further step has time.
func (l bound) outer() bool { return l.own == 0 && !l.at.IsZero() }

// ofRun says whether the limit is the run's.
func (l bound) ofRun() bool {
	return l.own == 0 && !l.b.run.IsZero() && l.at.Equal(l.b.run.Add(l.b.extra))
}

// String names the limit, as reasons do.
func (l bound) String() string {
	if l.own > 0 {
		return fmt.Sprintf("its timeout of %v", l.own)
	}
	name := fmt.Sprintf("the sample's timeout of %v", l.b.sampleLimit)
	if l.ofRun() {
		name = fmt.Sprintf("the run's timeout of %v", l.b.runLimit)
	}
	if l.b.extra > 0 {
		name += fmt.Sprintf(" and %v more to clean up", l.b.extra)
	}
	return name
}

// left returns how long that is from now; zero is no limit, less than zero that it is over.
func (l bound) left(now time.Time) time.Duration {
	if l.at.IsZero() {
		return 0
	}
	if d := l.at.Sub(now); d > 0 {
		return d
	}
	return -1
}

// context returns ctx with the limit, whose cause is a *timeoutError.
func (l bound) context(ctx context.Context) (context.Context, context.CancelFunc) {
	if l.at.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadlineCause(ctx, l.at, &timeoutError{l})
}

// timeoutError is the end of a limit as the cause of a context.
type timeoutError struct{ limit bound }

func (e *timeoutError) Error() string { return e.limit.String() + " is over" }
