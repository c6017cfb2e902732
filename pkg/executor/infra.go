package executor

import (
	"context"
	"time"

	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// infraBackoff is the wait before a sample is repeated for the nth time: what is overloaded needs a moment.
func infraBackoff(n int) time.Duration { return min(time.Second<<(n-1), maxBackoff) }

// mayRepeat says whether an attempt that ended in error may be made again in new sandboxes: where every error it had is
// one of infrastructure, and where its work is certain to have left no trace, because no command was started or
// because its provider promises that nothing done in its sandboxes, which are gone, had an effect outside of them.
func (a *attempt) mayRepeat() bool {
	if a.interrupted() {
		return false
	}
	errors, repeatable := 0, 0
	count := func(o *outcome) {
		if o.verdict == event.Error {
			errors++
			if o.repeatable {
				repeatable++
			}
		}
	}
	count(&a.trouble)
	for _, end := range a.ends {
		count(&end.outcome)
	}
	return errors > 0 && errors == repeatable && !a.open
}

// confined says whether the provider promises that nothing which runs in the sandbox has an effect outside of its group.
func (r *run) confined(s sandbox.Spec) bool {
	c, ok := r.opts.Provider.(sandbox.Confiner)
	return ok && c.Confines(s)
}

// sleep waits and returns true, or false at once where the context ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
