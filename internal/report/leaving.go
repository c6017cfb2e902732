package report

import (
	"bytes"
	"errors"
	"io"
	"time"
)

// leavingPatience is how long a reader who does not read is waited for once the run is leaving.
const leavingPatience = time.Second

// errUnread is what a writer gets who waits for nobody any more.
var errUnread = errors.New("nobody reads it")

// leaving writes to w, whose reader may take the time it wants, such as a pager that shows the first page, until leave is
// closed: then what runs is to be taken down, and output is no reason to wait.
type leaving struct {
	w     io.Writer
	leave <-chan struct{}
}

func (l leaving) Write(p []byte) (int, error) {
	type written struct {
		n   int
		err error
	}
	done := make(chan written, 1)
	own := bytes.Clone(p) // which may be read after this has returned
	go func() {
		n, err := l.w.Write(own)
		done <- written{n, err}
	}()
	select {
	case r := <-done:
		return r.n, r.err
	case <-l.leave:
	}
	select {
	case r := <-done:
		return r.n, r.err
	case <-time.After(leavingPatience):
		return 0, errUnread
	}
}
