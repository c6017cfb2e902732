package shell

import (
	"archive/tar"
	"context"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Receive streams what the globs match: see sandbox.Sandbox. First the files are listed, then their content is fetched as it
// is read: small files by tar programs in the sandbox, many at a time, large ones piece by piece. The tar has as many bytes as
// its headers say, whatever becomes of a file meanwhile.
func (s *Shell) Receive(ctx context.Context, globs []string) (io.ReadCloser, error) {
	if err := s.check(ctx, "receive"); err != nil {
		return nil, err
	}
	l := &listing{s: s, files: map[string]found{}}
	parsed := make([]glob, len(globs))
	for i, g := range globs {
		var err error
		if parsed[i], err = parseGlob(g); err != nil {
			return nil, s.wrap(ctx, "receive", err)
		}
	}
	for _, g := range parsed {
		if err := l.list(ctx, g); err != nil {
			return nil, s.wrap(ctx, "receive", err)
		}
	}
	inner, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	st := &stream{PipeReader: r, cancel: cancel}
	st.group.Go(func() {
		f := &fetcher{s: s, out: tar.NewWriter(w), files: l.files}
		err := f.run(inner, slices.Sorted(maps.Keys(l.files)))
		if err == nil {
			err = f.out.Close()
		}
		if err = s.wrap(ctx, "receive", err); err == nil {
			err = io.EOF
		}
		w.CloseWithError(err)
	})
	st.group.Go(func() { // wakes a write that nobody reads
		gone, stop := s.live(inner)
		defer stop()
		<-gone.Done()
		if err := s.gone("receive"); err != nil {
			w.CloseWithError(err)
		} else if ctx.Err() != nil {
			w.CloseWithError(context.Cause(ctx))
		}
	})
	return st, nil
}

// stream is what Receive returns.
type stream struct {
	*io.PipeReader
	cancel context.CancelFunc
	group  sync.WaitGroup
}

func (s *stream) Close() error {
	err := s.PipeReader.Close()
	s.cancel()
	s.group.Wait()
	return err
}

// errVanished says that a file is not there any more.
var errVanished = problem(sandbox.KindNotFound, "the file is gone")
