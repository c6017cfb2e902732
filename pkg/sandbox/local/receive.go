package local

import (
	"archive/tar"
	"context"
	"io"
	"maps"
	"slices"

	"github.com/bmatcuk/doublestar/v4"
)

// Receive streams what the globs match.
//
// The files are read from outside, while what runs in the sandbox may change anything at any time. So every file is
// reached from a folder of the sandbox that was opened before anything ran in it, through no symlink; it is looked at
// before it is opened, so that a FIFO or device is not; and the tar has as many bytes as its header says, whatever becomes
// of the file.
func (s *files) Receive(ctx context.Context, globs []string) (io.ReadCloser, error) {
	if err := s.check(ctx, "receive"); err != nil {
		return nil, err
	}
	fail := func(err error) error {
		if err == nil {
			return nil
		}
		select {
		case <-s.released:
			return s.errReleased("receive")
		default:
			return wrap(ctx, "receive", s.id, err)
		}
	}
	s.mu.RLock() // until the stream has ended, so that Release leaves the folders open
	t := newTree(ctx, s)
	for _, g := range globs {
		var err error
		if !doublestar.ValidatePattern(g) {
			err = invalid("glob %q is malformed", g)
		} else {
			err = t.match(g)
		}
		if err != nil {
			s.mu.RUnlock()
			return nil, fail(err)
		}
	}
	r, w := io.Pipe()
	ended := make(chan struct{})
	go func() { // wakes a write that nobody reads
		select {
		case <-s.released:
			w.CloseWithError(s.errReleased("receive"))
		case <-ctx.Done():
			w.CloseWithError(context.Cause(ctx))
		case <-ended:
		}
	}()
	go func() {
		defer s.mu.RUnlock()
		defer close(ended)
		out := tar.NewWriter(w)
		for _, name := range slices.Sorted(maps.Keys(t.found)) {
			if err := t.write(out, name); err != nil {
				w.CloseWithError(fail(err))
				return
			}
		}
		w.CloseWithError(fail(out.Close()))
	}()
	return r, nil
}
