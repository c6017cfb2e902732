package shell

import (
	"context"
	"errors"
	"sync"
	"time"
)

// watchStop carries out Command.Stop: TERM to all that the command started, after the grace KILL.
func (r *run) watchStop(ctx context.Context, ended <-chan struct{}) error {
	select {
	case <-r.cmd.Stop:
	case <-ended:
		return nil
	case <-ctx.Done():
		return nil
	}
	r.stopping.Store(true)
	signal := 15
	if r.cmd.Grace <= 0 {
		signal = 9
	}
	a, err := r.kill(ctx, signal, "stop", r.cmd.Grace)
	if err != nil {
		return err
	}
	if a.state == stateEnd || signal == 9 {
		return nil
	}
	select {
	case <-time.After(r.cmd.Grace):
	case <-ended:
		return nil
	case <-ctx.Done():
		return nil
	}
	_, err = r.kill(ctx, 9, "", 0)
	return err
}

// helpers are the goroutines beside a run. An error of one ends the run.
type helpers struct {
	cancel context.CancelCauseFunc
	group  sync.WaitGroup
	mu     sync.Mutex
	err    error
}

func newHelpers(cancel context.CancelCauseFunc) *helpers { return &helpers{cancel: cancel} }

func (h *helpers) start(f func() error) {
	h.group.Go(func() {
		err := f()
		h.mu.Lock()
		defer h.mu.Unlock()
		if err != nil && h.err == nil && !errors.Is(err, context.Canceled) {
			h.err = err
			h.cancel(err)
		}
	})
}

func (h *helpers) failed() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

func (h *helpers) wait() { h.group.Wait() }
