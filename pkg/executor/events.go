package executor

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sbxrun/sbxrun/internal/mask"
	"github.com/sbxrun/sbxrun/pkg/event"
)

// events sends the events of one recipe, masked. The first error of the sink stops the run: nothing that could not be
// recorded may count.
type events struct {
	sink   event.Sink
	mask   *mask.Mask
	recipe string // its name as it is shown
	stop   context.CancelCauseFunc
	failed atomic.Pointer[error]
}

// send completes and sends e.
func (s *events) send(e event.Event) {
	e.Time = time.Now()
	e.Recipe = s.recipe
	if err := s.sink.Send(mask.Value(s.mask, e)); err != nil {
		err = fmt.Errorf("record the %s event: %w", e.Type, err)
		if s.failed.CompareAndSwap(nil, &err) {
			s.stop(err)
		}
	}
}

// err returns the first error of the sink.
func (s *events) err() error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}
