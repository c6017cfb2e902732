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

// How long a request that gets no answer is repeated, and at which intervals.
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
	err := s.persist(ctx, func(ctx context.Context) error {
		number := strconv.FormatUint(s.numbers.Add(1), 36)
		argv := append([]string{"sh", "-c", script(name), "sbx", number}, args...)
		reply, err := s.opts.Transport.Run(ctx, argv)
		if err != nil {
			return err
		}
		a, err = parse(reply.Stdout, number)
		if err != nil && (reply.Exit == 127 || reply.Exit == 126) {
			return s.lacking("sh", fmt.Sprintf(" that can be run: %q", brief(reply.Stderr)))
		}
		if err != nil {
			return fmt.Errorf("%w (exit status %d, stderr %q)", err, reply.Exit, brief(reply.Stderr))
		}
		return s.sameContainer(a)
	})
	switch {
	case err != nil:
		return answer{}, err
	case a.state == stateNeed:
		return answer{}, s.lacking(cut(a.text), ", which is needed: add it, coreutils or busybox have it")
	case a.state == stateFail:
		return answer{}, problem(sandbox.KindNoSpace, "%s", cut(a.text))
	}
	s.work(name, a)
	return a, nil
}

// upload puts data into a file of the container and returns the payload that names it.
func (s *Shell) upload(ctx context.Context, name string, data []byte) (string, error) {
	var p string
	err := s.persist(ctx, func(ctx context.Context) (err error) {
		p, err = s.opts.Transport.Upload(ctx, name, data)
		return err
	})
	return "@" + p, err
}

// persist calls a request until it has an answer, in a slot of its own.
func (s *Shell) persist(ctx context.Context, request func(context.Context) error) error {
	ctx, cancel := s.live(ctx)
	defer cancel()
	end, garbled := time.Now().Add(patience), true
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		one, stop := context.WithTimeout(ctx, MaxRun+10*time.Second)
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
		if time.Now().Add(pause).After(end) {
			if garbled && s.worked() {
				return problem(sandbox.KindInvalid, "%w: %w", errSpoilt, err)
			}
			return problem(sandbox.KindLost, "no answer from the sandbox for %v: %w", patience, err)
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
