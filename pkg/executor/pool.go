package executor

import (
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// pool runs the samples, so many at once as the plan says. It alone launches, in the order of the rows, and holds at
// most the samples that run and those whose sandboxes are acquired ahead. The error is that of the reader of rows.
func (r *run) pool() error {
	var workers errgroup.Group
	workers.SetLimit(r.plan.Pool.Size)
	var ahead []*sample // in the order they are to run
	var seq int64
	var rowsErr error
rows:
	for row, err := range r.plan.Rows(r.soft) {
		if err != nil {
			rowsErr = err
			break
		}
		for number := 1; number <= max(1, r.layout.recipe.Samples); number++ {
			seq++
			s := &sample{run: r, row: row, id: shownID(r.events.mask, row), number: number, seq: seq, made: time.Now()}
			warm := r.warm()
			for len(ahead) > 0 && len(ahead) >= warm {
				r.launch(&workers, ahead[0]) // waits for a place
				ahead = ahead[1:]
			}
			if r.stopped() != "" {
				break rows
			}
			if warm == 0 {
				r.launch(&workers, s)
				continue
			}
			r.leaseAhead(s)
			ahead = append(ahead, s)
		}
	}
	for _, s := range ahead {
		r.launch(&workers, s)
	}
	_ = workers.Wait() // no worker returns an error: verdicts are data, and the sink's error has stopped the run
	if rowsErr != nil && r.soft.Err() != nil {
		r.stopped() // notes the interruption, which ended the rows
		return nil
	}
	return rowsErr
}

// launch waits for a place among the workers and runs a sample there, unless the run is stopped then.
func (r *run) launch(workers *errgroup.Group, s *sample) {
	workers.Go(func() error {
		if r.stopped() != "" {
			r.giveUp(s)
			return nil
		}
		r.progress.mu.Lock()
		r.progress.started++
		r.progress.mu.Unlock()
		r.progress.ended(r.guarded(s), r.opts.MaxFailures)
		return nil
	})
}

// guarded executes a sample. A panic of it ends as its result.
func (r *run) guarded(s *sample) (v event.Verdict) {
	defer func() {
		if p := recover(); p != nil {
			o := broken(event.ReasonInternal, "sample", asPanic(p))
			s.send(event.Event{Type: event.TypeSampleEnd, SampleEnd: &event.Sample{Verdict: o.verdict, Reason: o.reason, Message: o.message}})
			v = o.verdict
		}
	}()
	return s.execute()
}

// stopped says why no more samples are started, or nothing.
func (r *run) stopped() string {
	switch {
	case r.events.err() != nil:
		r.progress.stop(StoppedError)
	case r.soft.Err() != nil:
		r.progress.stop(StoppedInterrupt)
	case !r.opts.Deadline.IsZero() && !time.Now().Before(r.opts.Deadline):
		r.progress.stop(StoppedTimeout)
	}
	r.progress.mu.Lock()
	defer r.progress.mu.Unlock()
	return r.progress.stopped
}

// warm is how many samples are to have their sandboxes acquired beside those that run.
func (r *run) warm() int {
	if n := r.plan.Pool.Warm; n >= 0 {
		return n
	}
	return r.pace.ahead(r.plan.Pool.Size)
}
