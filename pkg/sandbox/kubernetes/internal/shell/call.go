package shell

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// How long a request that gets no answer is repeated, without the time that it waits for a slot, and at which intervals. It
// is made twice at least.
const (
	patience   = 75 * time.Second
	firstPause = 100 * time.Millisecond
	lastPause  = 3 * time.Second
)

// longWait is for how long a request waits in the sandbox for something to happen.
const longWait = 8 * time.Second

// call makes a request, again and again until it is answered. args are what follows the number.
func (s *Shell) call(ctx context.Context, name string, args ...string) (answer, error) {
	var a answer
	err := s.persist(ctx, s.runLimit(), func(ctx context.Context) (err error) {
		a, err = s.request(ctx, name, args)
		return err
	})
	return s.understand(a, err)
}

// ask makes a request whose answer carries data, up to size bytes of it: each try has arguments of its own. It is made again
// for as long as the sandbox gives no answer and somebody wants one.
func (s *Shell) ask(ctx context.Context, name string, wanted func() bool, args func(size int64) []string) (answer, error) {
	var a answer
	err := s.persist(ctx, s.runLimit(), func(ctx context.Context) (err error) {
		size, began := s.window.size(), time.Now()
		a, err = s.request(ctx, name, args(size))
		if err != nil && !wanted() {
			return errUnwanted
		}
		a.asked = size
		s.window.learn(size, int64(a.size), time.Since(began), s.limit, err)
		return err
	})
	if a, err = s.understand(a, err); err == nil {
		s.work(a)
	}
	return a, err
}

// errUnwanted ends the tries of a request that nobody waits for any more.
var errUnwanted = &sandbox.Error{Kind: sandbox.KindInternal, Err: errors.New("the answer is not wanted any more")}

func always() bool { return true }

// runLimit is MaxRun, and half of it more for the way to where it begins.
func (s *Shell) runLimit() time.Duration { return s.limit + s.limit/2 }

// request makes a request once.
func (s *Shell) request(ctx context.Context, name string, args []string) (answer, error) {
	number := strconv.FormatUint(s.numbers.Add(1), 36)
	argv := append([]string{"sh", "-c", script(name), "sbx", number}, args...)
	reply, err := s.opts.Transport.Run(ctx, argv)
	if err != nil {
		return answer{}, err
	}
	a, err := parse(reply.Stdout, number)
	if err != nil && (reply.Exit == 127 || reply.Exit == 126) {
		return answer{}, s.lacking("sh", fmt.Sprintf(" that can be run: %q", brief(reply.Stderr)))
	}
	if err != nil {
		return answer{}, fmt.Errorf("%w (exit status %d, stderr %q)", err, reply.Exit, brief(reply.Stderr))
	}
	return a, s.sameContainer(a)
}

// understand says what an answer means for every kind of request.
func (s *Shell) understand(a answer, err error) (answer, error) {
	switch {
	case err != nil:
		return answer{}, err
	case a.state == stateNeed:
		return answer{}, s.lacking(cut(a.text), ", which is needed: add it, coreutils or busybox have it")
	case a.state == stateFail:
		return answer{}, problem(sandbox.KindNoSpace, "%s", cut(a.text))
	}
	return a, nil
}

// upload puts data into a file of the container and returns the payload that names it.
func (s *Shell) upload(ctx context.Context, name string, data []byte) (string, error) {
	select {
	case s.uploads <- struct{}{}:
		defer func() { <-s.uploads }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	var p string
	err := s.persist(ctx, UploadLimit(len(data)), func(ctx context.Context) (err error) {
		p, err = s.opts.Transport.Upload(ctx, name, data)
		return err
	})
	return "@" + p, err
}

// persist calls a request until it has an answer, in a slot of its own, each time with the limit.
func (s *Shell) persist(ctx context.Context, limit time.Duration, request func(context.Context) error) error {
	ctx, cancel := s.live(ctx)
	defer cancel()
	var spent time.Duration
	garbled := true
	for pause, again := firstPause, false; ; pause, again = min(2*pause, lastPause), true {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		began := time.Now()
		one, stop := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no end within %v", limit))
		err := request(one)
		stop()
		<-s.slots
		if err == nil || ctx.Err() != nil {
			return err
		}
		if _, final := errors.AsType[*sandbox.Error](err); final {
			return err
		}
		garbled = garbled && errors.Is(err, errGarbled)
		if spent += time.Since(began) + pause; again && spent > s.patience {
			if garbled && s.worked() {
				return problem(sandbox.KindInvalid, "%w: %w", errSpoilt, err)
			}
			return problem(sandbox.KindLost, "no answer from the sandbox for %v: %w", s.patience, err)
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return err
		}
	}
}

// sameContainer notices that the container was started anew, and with it everything that ran is gone.
func (s *Shell) sameContainer(a answer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case a.boot == "0" || a.boot == s.boot:
	case s.boot == "":
		s.boot = a.boot
	default:
		s.broken = errRestarted.Err
		return errRestarted
	}
	return nil
}

// errRestarted is final.
var errRestarted = &sandbox.Error{Kind: sandbox.KindLost, Err: errors.New("the sandbox's container was restarted")}

// wait returns for how long a request may wait in the sandbox, and a function to be called after it. Where many wait already it
// is short, so that others find a slot.
func (s *Shell) wait() (time.Duration, func()) {
	select {
	case s.waits <- struct{}{}:
		return longWait, func() { <-s.waits }
	default:
		return longWait / 40, func() {}
	}
}
