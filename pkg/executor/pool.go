package executor

import (
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// pool runs the samples, so many at once as the plan says. It alone launches, in the order of the rows, and holds at
// most the samples that run, and one each that is being taken down, or those whose sandboxes are acquired ahead. The error
// is that of the reader of rows.
func (r *run) pool() error {
	var workers errgroup.Group
	work := make(chan *sample) // without a buffer: what was sent has its worker
	for range min(r.plan.Pool.Size, max(r.plan.Total, 1)) {
		workers.Go(func() error {
			r.worker(work)
			return nil // verdicts are data, and the sink's error has stopped the run
		})
	}
	ahead, err := r.feed(work)
	for _, s := range ahead {
		work <- s
	}
	close(work)
	_ = workers.Wait() // no worker returns an error
	if r.stock != nil {
		r.stock.empty()
	}
	if r.soft.Err() != nil {
		return nil // which ends the rows too
	}
	return err
}

// feed hands samples to the workers as they have a place. It returns those that were acquired ahead and have none yet.
func (r *run) feed(work chan<- *sample) (ahead []*sample, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = asPanic(v)
		}
	}()
	slow := r.pace.slow
	var seq int64
	for row, err := range r.plan.Rows(r.soft) {
		if err != nil {
			return ahead, err
		}
		for number := 1; number <= r.plan.Samples; number++ {
			seq++
			s := &sample{run: r, row: row, id: shownName(r.mask, row.ID, row.Number), number: number, seq: seq, made: time.Now()}
			warm := r.warm()
			for len(ahead) > 0 && len(ahead) >= warm {
				work <- ahead[0] // waits for a place
				ahead = ahead[1:]
			}
			if r.stopped() != "" {
				return ahead, nil
			}
			if warm == 0 {
				select {
				case work <- s:
					continue
				case <-slow: // acquire while the first ones run, not only from the next one on
					slow = nil
				}
				if r.warm() == 0 {
					work <- s
					continue
				}
			}
			r.leaseAhead(s)
			ahead = append(ahead, s)
		}
	}
	return ahead, nil
}

// start runs a sample, unless the run was stopped while it waited for its place.
func (r *run) start(s *sample) {
	if r.stopped() != "" {
		r.giveUp(s)
		return
	}
	r.progress.begin()
	r.progress.ended(r.guarded(s), r.opts.MaxFailures)
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

// warmMost is the most that warm returns. What the recipe says are sandboxes, of which a sample may need several.
func (r *run) warmMost() int {
	if n := r.plan.Pool.Warm; n >= 0 {
		return n / max(1, len(r.layout.mainBoxes))
	}
	return r.plan.Pool.Size
}

// warm is how many samples are to have their sandboxes acquired beside those that run.
func (r *run) warm() int {
	if r.plan.Pool.Warm >= 0 {
		return r.warmMost()
	}
	if r.stock != nil && r.stock.saves() {
		return 0 // they come back sooner than new ones come
	}
	return r.pace.ahead(r.plan.Pool.Size)
}
