package shell

import (
	"context"
	"errors"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Reset makes the sandbox fit for another sample: see sandbox.Resettable. It kills every process that commands started,
// empties workspace, TMPDIR and state folder, and checks that it worked. Requests of before that are still on the way are
// refused when they arrive.
func (s *Shell) Reset(ctx context.Context) error {
	if err := s.gone("reset"); err != nil {
		return err
	}
	s.mu.Lock()
	broken, old := s.broken, s.epoch
	s.broken = errors.New("a reset of the sandbox did not succeed")
	s.epoch, s.finished, s.litter = token(), nil, 0
	s.endEra()
	s.era, s.endEra = context.WithCancel(context.Background())
	s.mu.Unlock()
	if broken != nil {
		return s.fail("reset", sandbox.KindLost, broken)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	a, err := s.call(ctx, "reset", old, markDigits, number(resetMark))
	if err == nil && a.text != "" {
		err = problem(sandbox.KindLost, "the sandbox cannot be used again: %s", cut(a.text))
	}
	if err != nil {
		return s.wrap(ctx, "reset", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = nil
	return nil
}
