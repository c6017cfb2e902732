package executor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// acquireAll gets a sandbox for each spec of a part, all at once, or none. dismiss gives them back.
func (r *run) acquireAll(ctx context.Context, part string, specs []wanted) ([]*box, error) {
	get := func(ctx context.Context, w wanted) (b *box, err error) {
		if r.stock == nil {
			b, err = acquire(ctx, r.opts.Provider, w.Spec)
		} else {
			b, err = r.stock.acquire(ctx, part, w)
		}
		if err != nil && w.fixed && sandbox.KindOf(err) == sandbox.KindUnsupported {
			err = &hopelessError{err}
		}
		return b, err
	}
	boxes := make([]*box, len(specs))
	if len(specs) == 1 {
		b, err := get(ctx, specs[0])
		boxes[0] = b
		if err != nil {
			return nil, err
		}
		return boxes, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errs := make([]error, len(specs))
	var wg sync.WaitGroup
	for i, spec := range specs {
		wg.Go(func() {
			if boxes[i], errs[i] = get(ctx, spec); errs[i] != nil {
				cancel(errs[i]) // the others are of no use
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		r.dismiss(ctx, part, boxes, false)
		return nil, err
	}
	return boxes, nil
}

// hopelessError is a sandbox that the provider cannot give, to whichever sample.
type hopelessError struct{ error }

func (e *hopelessError) Unwrap() error { return e.error }

// dismiss gives up the sandboxes of a part, leaving out those that are nil: they are taken down, or where nothing went
// wrong and the pool reuses them, reset and kept.
func (r *run) dismiss(ctx context.Context, part string, boxes []*box, well bool) {
	if r.stock == nil {
		r.releaser.release(ctx, boxes)
		return
	}
	var wg sync.WaitGroup
	for _, b := range boxes {
		if b != nil {
			wg.Go(func() { r.stock.giveBack(ctx, part, b, well) })
		}
	}
	wg.Wait()
}

func acquire(ctx context.Context, p sandbox.Provider, spec sandbox.Spec) (_ *box, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = asPanic(v)
		}
	}()
	sb, err := p.Acquire(ctx, spec)
	if err != nil {
		return nil, err
	}
	if sb == nil {
		return nil, &sandbox.Error{Op: "acquire", Kind: sandbox.KindInternal, Err: errors.New("the provider returned no sandbox")}
	}
	return newBox(sb, spec), nil
}

const (
	// releaseTimeout bounds how long a sandbox may take to go down.
	releaseTimeout = time.Minute
	// releaseTries is how often that is tried.
	releaseTries = 3
)

// releaser takes sandboxes down, whatever became of the context, and remembers which could not be: the provider's Close
// tries those again.
type releaser struct {
	events *events
	mu     sync.Mutex
	left   []string
}

// release takes the boxes down; those that are nil it leaves out.
func (r *releaser) release(ctx context.Context, boxes []*box) {
	if len(boxes) == 1 {
		r.one(ctx, boxes[0])
		return
	}
	var wg sync.WaitGroup
	for _, b := range boxes {
		wg.Go(func() { r.one(ctx, b) })
	}
	wg.Wait()
}

func (r *releaser) one(ctx context.Context, b *box) {
	if b == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	var err error
	for n := range releaseTries {
		if n > 0 && !sleep(ctx, time.Second<<(n-1)) {
			break
		}
		if err = releaseBox(ctx, b); err == nil {
			return
		}
	}
	r.mu.Lock()
	r.left = append(r.left, b.sb.ID())
	r.mu.Unlock()
	r.events.send(event.Event{
		Type: event.TypeWarning, Case: b.spec.Labels["case"],
		Message: fmt.Sprintf("sandbox %s is not down yet: %v; that is tried again at the end of the run", b.sb.ID(), err),
	})
}

func releaseBox(ctx context.Context, b *box) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = asPanic(v)
		}
	}()
	return b.sb.Release(ctx)
}
