package shell

import (
	"context"
	"errors"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Reset makes the sandbox fit for other commands: it kills every process that commands started, empties workspace, TMPDIR
// and state folder, and checks that it worked. Commands that run meanwhile end, and requests for them that are still on the
// way are refused. It guards against leftovers, not against hostility: see the package's documentation. After an error, which
// is KindLost unless there was no answer to hope for, the sandbox is not to be used again.
func (s *Shell) Reset(ctx context.Context) error {
	if err := s.check(ctx, "reset"); err != nil {
		return err
	}
	s.mu.Lock()
	old := s.epoch
	s.epoch, s.finished = token(), nil
	s.mu.Unlock()
	a, err := s.call(ctx, "reset", old, markDigits)
	if err == nil && a.text != "" {
		err = problem(sandbox.KindLost, "the sandbox cannot be used again: %s", a.text)
	}
	if e, ok := errors.AsType[*sandbox.Error](err); ok && e.Kind == sandbox.KindNoSpace {
		err = problem(sandbox.KindLost, "the sandbox cannot be used again: %w", e.Err)
	}
	return s.wrap(ctx, "reset", err)
}
