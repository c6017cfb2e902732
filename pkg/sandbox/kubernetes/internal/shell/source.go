package shell

import (
	"errors"
	"io"
	"sync"
)

// source is a part of a caller's stream that a pump reads. It remembers its error, and lets nobody read once it is ended,
// so that the stream is its caller's again.
type source struct {
	mu    sync.Mutex
	r     io.Reader
	err   error
	ended bool
}

func newSource(r io.Reader) *source { return &source{r: r} }

func (s *source) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return 0, io.ErrClosedPipe
	}
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		s.err = err
	}
	return n, err
}

// end waits for the Read that is under way, and returns the error of the stream.
func (s *source) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	return s.err
}
