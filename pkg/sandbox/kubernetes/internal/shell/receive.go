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
	scope, epoch, end := s.scope(ctx)
	files, err := s.list(scope, globs)
	if err != nil {
		err = s.wrap(scope, "receive", err)
		end()
		return nil, err
	}
	r, w := io.Pipe()
	st := &stream{PipeReader: r, end: end}
	st.group.Go(func() {
		f := &fetcher{s: s, out: tar.NewWriter(w), files: files, epoch: epoch}
		err := f.run(scope, slices.Sorted(maps.Keys(files)))
		if err == nil {
			err = f.out.Close()
		}
		if err = s.wrap(scope, "receive", err); err == nil {
			err = io.EOF
		}
		w.CloseWithError(err)
		end()
	})
	st.group.Go(func() { // wakes a write that nobody reads
		live, stop := s.live(scope)
		defer stop()
		<-live.Done()
		w.CloseWithError(s.wrap(scope, "receive", live.Err()))
	})
	return st, nil
}

// list returns what the globs match.
func (s *Shell) list(ctx context.Context, globs []string) (map[string]found, error) {
	l := &listing{s: s, files: map[string]found{}}
	parsed := make([]glob, len(globs))
	for i, g := range globs {
		var err error
		if parsed[i], err = parseGlob(g); err != nil {
			return nil, err
		}
	}
	for _, g := range parsed {
		if err := l.list(ctx, g); err != nil {
			return nil, err
		}
	}
	return l.files, nil
}

// stream is what Receive returns.
type stream struct {
	*io.PipeReader
	end   func()
	group sync.WaitGroup
}

func (s *stream) Close() error {
	err := s.PipeReader.Close()
	s.end()
	s.group.Wait()
	return err
}

// errVanished says that a file is not there any more.
var errVanished = problem(sandbox.KindNotFound, "the file is gone")
