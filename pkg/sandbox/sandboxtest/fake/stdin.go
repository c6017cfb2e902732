package fake

import (
	"io"
	"os"
)

// stdin is a command's standard input: the read end of a pipe, because the interpreter takes only files. nil is empty.
type stdin struct{ r, w *os.File }

// newStdin copies from into a pipe until the pipe is closed.
func newStdin(from io.Reader) (*stdin, error) {
	if from == nil {
		return nil, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	go func() {
		_, _ = io.Copy(w, from) // a command need not read all of it
		_ = w.Close()
	}()
	return &stdin{r: r, w: w}, nil
}

func (s *stdin) Read(b []byte) (int, error) {
	if s == nil {
		return 0, io.EOF
	}
	return s.r.Read(b)
}

// Close ends reads that wait, and the copying.
func (s *stdin) Close() {
	if s != nil {
		_ = s.r.Close()
		_ = s.w.Close()
	}
}

func (s *stdin) file() *os.File {
	if s == nil {
		return nil
	}
	return s.r
}
