package executor

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// reuseReset is the pool.reuse that uses sandboxes again.
const reuseReset = "reset"

const (
	// resetTimeout bounds how long it may take to reset a sandbox.
	resetTimeout = time.Minute
	// restLimit is how long a sandbox waits for a sample, kept or acquired ahead: it may expire, and nobody watches it.
	restLimit = 10 * time.Minute
)

// stock is pool.reuse: it keeps sandboxes that were reset for samples that want equal ones. Those of verify are kept apart
// from those of steps, so that verify never runs where code under test has run its steps.
//
// Of a part, no more sandboxes are held, used and kept together, than the samples in flight and ahead could hold.
type stock struct {
	run  *run
	most map[string]int // by part

	mu    sync.Mutex
	held  map[string]int    // in use, by part
	kept  map[string][]*box // by part, in the order they were kept
	fresh bool              // the provider's sandboxes cannot be reset
	told  map[string]bool   // warnings
}

func newStock(r *run) *stock {
	if r.plan.Pool.Reuse != reuseReset {
		return nil
	}
	size, ahead := r.plan.Pool.Size, r.warmMost()
	return &stock{
		run:  r,
		most: map[string]int{partSteps: (size + ahead) * len(r.layout.mainBoxes), partVerify: size * len(r.layout.verifyBoxes)},
		held: map[string]int{}, kept: map[string][]*box{}, told: map[string]bool{},
	}
}

// unfitForReuse says why sandboxes of a spec are made anew for every sample; empty: they need not be.
func unfitForReuse(spec sandbox.Spec) string {
	switch {
	case spec.Network == sandbox.NetworkCase:
		return "has network case, which is one for each sample"
	case len(spec.Cluster.Volumes) > 0:
		return "has volumes, which are not emptied"
	}
	return ""
}

// saves says whether sandboxes come back to the pool, so that none need to be acquired ahead.
func (s *stock) saves() bool {
	for _, i := range s.run.layout.mainBoxes {
		if box := &s.run.layout.recipe.Sandboxes[i]; box.Network == string(sandbox.NetworkCase) || box.Volumes != nil {
			return false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.fresh
}

// sortOf is what two sandboxes have in common of which one can take the other's place: a digest, since a spec can be long.
func sortOf(spec sandbox.Spec) string {
	spec.Group, spec.Labels = "", nil
	h := sha256.New()
	fmt.Fprintf(h, "%#v", spec)
	return string(h.Sum(nil))
}

// acquire returns a kept sandbox of the spec, or a new one.
func (s *stock) acquire(ctx context.Context, part string, w wanted) (*box, error) {
	b, extra := s.take(part, w)
	if len(extra) > 0 { // they go before another comes: never more than the pool says
		s.run.releaser.release(ctx, extra)
		s.leave(part, len(extra))
	}
	if b != nil {
		return b, nil
	}
	b, err := acquire(ctx, s.run.opts.Provider, w.Spec)
	if err != nil {
		s.leave(part, 1)
		return nil, err
	}
	b.sort = w.sort
	return b, nil
}

// take finds a kept sandbox. extra is what the caller takes down first: what was kept for too long, and what would be one
// too many.
func (s *stock) take(part string, w wanted) (b *box, extra []*box) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[part]++
	var rest []*box
	for _, k := range s.kept[part] {
		switch {
		case time.Since(k.since) > restLimit:
			extra = append(extra, k)
		case b == nil && k.sort == w.sort:
			b = newBox(k.sb, w.Spec)
			b.uses, b.sort = k.uses, k.sort
		default:
			rest = append(rest, k)
		}
	}
	for b == nil && len(rest) > 0 && s.held[part]+len(rest) > s.most[part] {
		extra, rest = append(extra, rest[0]), rest[1:]
	}
	s.kept[part] = rest
	s.held[part] += len(extra)
	return b, extra
}

// leave counts sandboxes that are held no more.
func (s *stock) leave(part string, n int) {
	s.mu.Lock()
	s.held[part] -= n
	s.mu.Unlock()
}

// giveBack resets a sandbox and keeps it, or takes it down. well says that nothing went wrong around it.
func (s *stock) giveBack(ctx context.Context, part string, b *box, well bool) {
	if !well || !s.wanted(b) || !s.reset(ctx, b) {
		s.run.releaser.one(ctx, b)
		s.leave(part, 1)
		return
	}
	b.uses++
	b.since = time.Now()
	s.mu.Lock()
	s.held[part]--
	s.kept[part] = append(s.kept[part], b)
	s.mu.Unlock()
}

// wanted says whether a sandbox can be used again, and may be.
func (s *stock) wanted(b *box) bool {
	return b.restful() && unfitForReuse(b.spec) == "" && s.run.stopped() == "" && s.run.progress.more(s.run.plan.Total)
}

// reset empties the sandbox. An interruption ends the wait.
func (s *stock) reset(ctx context.Context, b *box) (done bool) {
	r, ok := b.sb.(sandbox.Resettable)
	if !ok {
		s.mu.Lock()
		s.fresh = true
		s.mu.Unlock()
		s.tell("pool.reuse: reset is not needed here: every sample gets new sandboxes, which is stronger")
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, resetTimeout)
	defer cancel()
	defer context.AfterFunc(s.run.soft, cancel)()
	err := resetBox(ctx, r)
	if err != nil && s.run.soft.Err() == nil {
		s.tell(fmt.Sprintf("a sandbox could not be reset and was replaced: %v", cause(err)))
	}
	return err == nil
}

func resetBox(ctx context.Context, r sandbox.Resettable) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = asPanic(v)
		}
	}()
	return r.Reset(ctx)
}

// tell warns, once in the same words.
func (s *stock) tell(line string) {
	s.mu.Lock()
	again := s.told[line]
	s.told[line] = true
	s.mu.Unlock()
	if !again {
		s.run.events.send(event.Event{Type: event.TypeWarning, Message: line})
	}
}

// empty takes down what is kept.
func (s *stock) empty() {
	s.mu.Lock()
	var all []*box
	for part, boxes := range s.kept {
		all = append(all, boxes...)
		delete(s.kept, part)
	}
	s.mu.Unlock()
	s.run.releaser.release(s.run.hard, all)
}
