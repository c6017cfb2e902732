package podexec

import (
	"bytes"
	"context"
	"errors"
	"time"
)

// steady is an input of which something has to be taken all the time, from the first to the last byte.
type steady struct {
	*bytes.Reader
	timer *time.Timer
	still time.Duration
}

var errStill = errors.New("nothing of the upload moves")

// newSteady returns an input that calls stop once nothing of it has been read for so long.
func newSteady(data []byte, still time.Duration, stop context.CancelCauseFunc) *steady {
	return &steady{bytes.NewReader(data), time.AfterFunc(still, func() { stop(errStill) }), still}
}

func (s *steady) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	if s.Len() > 0 {
		s.timer.Reset(s.still)
	} else {
		s.timer.Stop()
	}
	return n, err
}
