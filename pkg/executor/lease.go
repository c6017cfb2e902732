package executor

import (
	"sync"
	"time"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// lease is the sandboxes of one attempt: there, or on their way.
type lease struct {
	done  chan struct{} // closed when boxes or err is there; nil: they are
	boxes []*box
	err   error
	since time.Time // they are there
}

// stale says whether sandboxes that were acquired ahead have waited for so long that they may expire in use.
func (l *lease) stale() bool { return l.err == nil && time.Since(l.since) > restLimit }

// wait returns the sandboxes once they are there. Whoever calls it releases them.
func (l *lease) wait() ([]*box, error) {
	if l.done != nil {
		<-l.done // acquiring ends with the run's context
	}
	return l.boxes, l.err
}

// leaseNow acquires the sandboxes of an attempt.
func (r *run) leaseNow(s *sample, attempt int) *lease {
	l := &lease{}
	l.boxes, l.err = r.acquireFor(s, attempt)
	l.since = time.Now()
	return l
}

// leaseAhead begins to acquire those of the first attempt.
func (r *run) leaseAhead(s *sample) {
	l := &lease{done: make(chan struct{})}
	s.lease = l
	s.trace()
	go func() {
		defer close(l.done)
		l.boxes, l.err = r.acquireFor(s, 1)
		l.since = time.Now()
	}()
}

func (r *run) acquireFor(s *sample, attempt int) (boxes []*box, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = asPanic(v)
		}
	}()
	if err := r.waiting.Err(); err != nil {
		return nil, err
	}
	specs, err := s.specs(attempt)
	if err != nil {
		return nil, err
	}
	start, span := time.Now(), s.span.Start("acquire")
	boxes, err = r.acquireAll(span.In(r.waiting), partSteps, specs)
	endSpan(span, err)
	if err == nil {
		r.pace.acquired(time.Since(start))
	}
	return boxes, err
}

// giveUp releases what a sample acquired ahead that is not going to run.
func (r *run) giveUp(s *sample) {
	if s.lease == nil {
		return
	}
	if boxes, err := s.lease.wait(); err == nil {
		r.dismiss(s.span.In(r.hard), partSteps, boxes, false)
	}
	s.span.End(string(event.NotRun), "")
}

// slowAcquire is from when on getting a sandbox is waiting, which is worth to be done ahead, rather than work of this
// machine, which would only be taken from the samples that run.
const slowAcquire = 100 * time.Millisecond

// pace measures how long samples take, for pool.warm: auto. Both are moving averages.
type pace struct {
	slow chan struct{} // closed once acquiring is slow

	mu      sync.Mutex
	acquire time.Duration // to get the sandboxes of a sample
	busy    time.Duration // from then to their release
	release time.Duration // to take them down

	releases bool // there was one
	wasSlow  bool
}

func average(old, d time.Duration) time.Duration {
	if old == 0 {
		return d
	}
	return old + (d-old)/8
}

func (p *pace) acquired(d time.Duration) {
	p.mu.Lock()
	p.acquire = average(p.acquire, d)
	if p.acquire >= slowAcquire && !p.wasSlow {
		p.wasSlow = true
		close(p.slow)
	}
	p.mu.Unlock()
}

func (p *pace) worked(d time.Duration) {
	p.mu.Lock()
	p.busy = average(p.busy, d)
	p.mu.Unlock()
}

// ahead is how many samples should have their sandboxes acquired beside the size that run: as many as begin while one
// acquires, and at most size, so that no more than twice the pool is ever held. Where samples take so long that what was
// acquired ahead would wait for half of restLimit, none.
func (p *pace) ahead(size int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.acquire < slowAcquire {
		return 0
	}
	switch {
	case p.busy <= 0 || p.acquire >= p.busy:
		return size
	case p.busy/time.Duration(size) > restLimit/2:
		return 0
	}
	return int((int64(size)*int64(p.acquire) + int64(p.busy) - 1) / int64(p.busy))
}
