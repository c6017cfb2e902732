package executor

import (
	"slices"
	"sync"
	"time"
)

// worker runs samples, one after the other but for their ends: a sample that leaves makes room for the next one, and its
// sandboxes are taken down meanwhile. Two at most are under way. The goroutines stay for all samples: a new one for each would
// spend its time growing its stack.
func (r *run) worker(work <-chan *sample) {
	turn := make(chan struct{}, 1) // who has it takes the next sample
	turn <- struct{}{}
	take := func() {
		<-turn
		for s := range work {
			left := false
			s.leave = func() {
				if !left {
					left = true
					turn <- struct{}{}
				}
			}
			r.start(s)
			if left {
				<-turn
			}
		}
		turn <- struct{}{}
	}
	var other sync.WaitGroup
	other.Go(take)
	take()
	other.Wait()
}

// leave makes room for the next sample if nobody can tell the difference: more sandboxes than run samples are welcome, as
// where some are acquired ahead, but not both, which would be three times the pool; this sample has passed, which stops
// nothing; what is left in its sandboxes reaches nothing outside that the next one may want; and to take them down is work
// of this machine, not waiting.
func (a *attempt) leave(boxes []*box) {
	switch {
	case a.run.plan.Pool.Warm >= 0 || a.run.warm() > 0:
	case len(a.run.layout.verify) > 0 || a.run.stock != nil || !a.run.pace.releasesQuickly():
	case a.interrupted() || a.troubled() || a.trouble.reason != "" || a.failedIn(a.run.layout.steps) || a.failedIn(a.run.layout.finally):
	case slices.ContainsFunc(boxes, func(b *box) bool { return b != nil && !a.run.confined(b.spec) }):
	default:
		a.sample.leave()
	}
}

// released takes note of how long it took to take the sandboxes of a sample down.
func (p *pace) released(d time.Duration) {
	p.mu.Lock()
	p.release, p.releases = average(p.release, d), true
	p.mu.Unlock()
}

// releasesQuickly says whether that is known to be quick.
func (p *pace) releasesQuickly() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.releases && p.release < slowAcquire
}
