package shell

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// start starts the command and waits for its end. What takes longer gets a keeper, and then the answer is of its first output.
func (r *run) start(ctx context.Context) (answer, error) {
	wait, done := r.s.wait()
	defer done()
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	ask := func(request func() (answer, error)) <-chan reply {
		c := make(chan reply, 1)
		group.Go(func() {
			a, err := request()
			c <- reply{a, err}
		})
		return c
	}
	keeper := ""
	if r.part != "" || wait < longWait || r.cmd.Timeout > 0 && r.cmd.Timeout < preciseLimit {
		keeper = script("keep")
	}
	finished, now := r.s.takeFinished()
	clean := ""
	if now {
		clean = "1"
	}
	rest := append([]string{keeper, clean}, finished...)
	// While a poll looks after the command, its keeper has ended the start: that is not repeated.
	var looking atomic.Bool
	launch := func() <-chan reply {
		return ask(func() (answer, error) {
			return r.request(ctx, wait, rest, func() bool { return !looking.Load() })
		})
	}
	began := time.Now()
	started := launch()
	var looked <-chan reply
	look := time.NewTimer(r.s.quick.wait())
	defer look.Stop()
	if keeper != "" {
		look.Stop()
	}
	var fresh time.Time // since when it is said to be new
	for {
		select {
		case a := <-started:
			unwanted := errors.Is(a.err, errUnwanted)
			if unwanted && looked == nil {
				started = launch()
				continue
			}
			if unwanted || looked != nil && a.err == nil && (a.state == stateRun || a.state == stateNew) {
				started = nil
				continue
			}
			r.take(a, began)
			return a.answer, a.err
		case <-look.C:
			looking.Store(true)
			looked = ask(func() (answer, error) { return r.poll(ctx, wait) })
		case a := <-looked:
			if a.err == nil && a.state == stateNew && fresh.IsZero() {
				fresh = time.Now()
			}
			// Its start is on its way.
			if a.err == nil && (a.state == stateNone || a.state == stateNew && time.Since(fresh) < upPatience) {
				looking.Store(false)
				looked = nil
				look.Reset(100 * time.Millisecond)
				if started == nil {
					started = launch()
				}
				continue
			}
			r.take(a, began)
			return a.answer, a.err
		}
	}
}

// reply is what came of a request.
type reply struct {
	answer
	err error
}

// take notes that the sandbox has what was uploaded for the start, and how long the way there and back took if all is over.
func (r *run) take(a reply, began time.Time) {
	if a.err != nil || a.state == stateOver || a.state == stateNone {
		return
	}
	if a.state == stateEnd {
		r.s.quick.learn(time.Since(began), a.text)
	}
	for _, p := range []string{r.spec, r.in, r.part, r.script} {
		r.taken(p)
	}
}

// request makes the request that starts the command, for as long as it is wanted.
func (r *run) request(ctx context.Context, wait time.Duration, rest []string, wanted func() bool) (answer, error) {
	return r.s.ask(ctx, "start", wanted, func(size int64) []string {
		args := []string{r.id, script("supervise"), number(hundredths(wait))}
		for _, o := range r.outs {
			_, blocks := o.ask(size)
			args = append(args, number(blocks))
		}
		return append(append(args, r.spec, r.in, r.part, r.script), rest...)
	})
}
