package executor

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/sbxrun/sbxrun/internal/check"
	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

const (
	// inMemory is the most bytes of a fetched file that are not put on disk.
	inMemory = 64 << 10
	// maxLinks is how many symbolic links to a file are followed, beside those that its folders are.
	maxLinks = 8
)

// fetcher gets the files of a sandbox that expectations name: all of a step in one stream. Large ones wait in files
// without a name in spool, so that nothing is left of them whatever happens.
type fetcher struct {
	box   *box
	spool string
	files []*os.File
	err   error // the first error that came of the sandbox, or the way to it
}

// fetch is a check.Fetch.
func (f *fetcher) fetch(ctx context.Context, paths []string) (map[string]check.Fetched, error) {
	got, err := f.all(ctx, paths)
	if err != nil && f.err == nil {
		f.err = err
	}
	return got, err
}

func (f *fetcher) all(ctx context.Context, paths []string) (map[string]check.Fetched, error) {
	got := make(map[string]check.Fetched, len(paths))
	want := places{}
	for _, p := range paths {
		if err := climbs(p); err != nil {
			return nil, err
		}
		at := path.Clean(p)
		if at == "." || at == "/" { // of which Receive gives what is in it
			got[p] = check.Fetched{Type: fs.ModeDir}
			continue
		}
		want.add(at, p)
	}
	next, err := f.receive(ctx, want, got)
	if err != nil {
		return nil, err
	}
	absent := map[string]bool{}
	for at, asked := range want {
		if _, found := got[asked[0]]; !found && strings.Contains(strings.TrimPrefix(at, "/"), "/") {
			absent[at] = true
			next.winding.add(at, asked...)
		}
	}
	for range maxLinks {
		if err := f.straighten(ctx, next, absent, got); err != nil {
			return nil, err
		}
		if len(next.straight) == 0 {
			break
		}
		if next, err = f.receive(ctx, next.straight, got); err != nil {
			return nil, err
		}
	}
	return got, nil
}

// places are where files are looked for, each with the paths that were asked for and lead there.
type places map[string][]string

func (p places) add(at string, asked ...string) { p[at] = append(p[at], asked...) }

// streamName is how Receive names a path.
func streamName(p string) string { return strings.TrimPrefix(path.Clean(p), "/") }

// receive gets what is wanted and returns where the symbolic links among it lead.
func (f *fetcher) receive(ctx context.Context, want places, got map[string]check.Fetched) (ways, error) {
	var relative, absolute []string // apart, since Receive gives both the same names
	for at := range want {
		if path.IsAbs(at) {
			absolute = append(absolute, at)
		} else {
			relative = append(relative, at)
		}
	}
	next := ways{places{}, places{}}
	for _, list := range [][]string{relative, absolute} {
		if len(list) == 0 {
			continue
		}
		if err := f.stream(ctx, list, want, got, next); err != nil {
			return ways{}, err
		}
	}
	return next, nil
}

// stream reads one stream of the sandbox: of places that are all relative, or all absolute.
func (f *fetcher) stream(ctx context.Context, list []string, want places, got map[string]check.Fetched, next ways) error {
	globs := make([]string, len(list))
	named := make(map[string]string, len(list))
	for i, at := range list {
		globs[i] = sandbox.EscapeGlob(at)
		named[streamName(at)] = at
	}
	r, err := f.box.receive(ctx, globs...)
	if err != nil {
		return err
	}
	defer r.Close()
	for len(named) > 0 { // a folder comes before what it holds, which nobody has asked for
		h, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Clean(h.Name)
		at, ok := named[name]
		if !ok {
			continue
		}
		delete(named, name)
		fetched := check.Fetched{Type: h.FileInfo().Mode().Type()}
		switch h.Typeflag {
		case tar.TypeReg:
			if fetched.Content, err = f.keep(r); err != nil {
				return err
			}
		case tar.TypeSymlink:
			next.link(at, h.Linkname, want[at])
		}
		for _, p := range want[at] {
			got[p] = fetched
		}
	}
	return nil
}

// climbs refuses a relative path that leaves the workspace: providers cut it off there.
func climbs(p string) error {
	if p := path.Clean(p); p == ".." || strings.HasPrefix(p, "../") {
		return unfit("%q leaves the workspace: use a path in it, or an absolute path", p)
	}
	return nil
}

// placeable refuses a path to put files at that leaves the workspace, or that no file can have.
func placeable(p string) error {
	const most, part = 4095, 255 // PATH_MAX without its NUL, and NAME_MAX
	if len(p) > most || slices.ContainsFunc(strings.Split(p, "/"), func(name string) bool { return len(name) > part }) {
		return unfit("a path of %d bytes, or a name in it, is longer than there can be: %q", len(p), p[:min(len(p), 100)])
	}
	return climbs(p)
}

// keep reads the content of a file.
func (f *fetcher) keep(r io.Reader) (check.Source, error) {
	var head bytes.Buffer
	if _, err := io.CopyN(&head, r, inMemory+1); errors.Is(err, io.EOF) {
		return check.Bytes(head.Bytes()), nil
	} else if err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(f.spool, ".fetched-*")
	if err != nil {
		return nil, fmt.Errorf("keep a file of the sandbox: %w", err)
	}
	f.files = append(f.files, file)
	if err := os.Remove(file.Name()); err != nil {
		return nil, fmt.Errorf("keep a file of the sandbox: %w", err)
	}
	n, err := io.Copy(file, io.MultiReader(&head, r))
	if err != nil {
		return nil, fmt.Errorf("keep a file of the sandbox: %w", err)
	}
	return spooled{file, n}, nil
}

func (f *fetcher) close() {
	for _, file := range f.files {
		file.Close() // it has no name and was read already
	}
	f.files = nil
}

// spooled is an open file as a check.Source.
type spooled struct {
	file *os.File
	size int64
}

func (s spooled) Size() int64 { return s.size }

func (s spooled) Open() (io.ReadCloser, error) {
	return section{io.NewSectionReader(s.file, 0, s.size)}, nil
}

// section is a reader that can seek and has nothing to close.
type section struct{ *io.SectionReader }

func (section) Close() error { return nil }

// tarReader reads what a sandbox sends, which is not to be trusted: it ends where more comes than the sandbox's disk
// can hold (a sparse file is longer than it is large), and where there are more entries than its inodes.
type tarReader struct {
	io.Closer
	r      *tar.Reader
	left   *allowance
	limits sandbox.Limits
	ahead  *tar.Header // that peek has read
}

// allowance is how much may still come.
type allowance struct{ bytes, entries int64 }

// receive opens a stream of what globs match.
func (b *box) receive(ctx context.Context, globs ...string) (*tarReader, error) {
	stream, err := b.sb.Receive(ctx, globs)
	if err != nil {
		return nil, err
	}
	limits := b.spec.Limits.WithDefaults()
	return &tarReader{Closer: stream, r: tar.NewReader(stream), left: &allowance{limits.Disk, limits.Inodes}, limits: limits}, nil
}

// peek returns what next will.
func (t *tarReader) peek() (h *tar.Header, err error) {
	t.ahead, err = t.next()
	return t.ahead, err
}

func (t *tarReader) next() (*tar.Header, error) {
	if h := t.ahead; h != nil {
		t.ahead = nil
		return h, nil
	}
	if t.left.entries--; t.left.entries < 0 {
		return nil, &artifactError{reason: event.ReasonDisk, text: fmt.Sprintf("more than %d files: see limits.inodes", t.limits.Inodes)}
	}
	h, err := t.r.Next()
	if err != nil {
		return nil, streamError(err)
	}
	if t.left.bytes -= h.Size; h.Size < 0 || t.left.bytes < 0 {
		return nil, &artifactError{reason: event.ReasonDisk, text: fmt.Sprintf("%q: more than %d bytes in all: see limits.disk", h.Name, t.limits.Disk)}
	}
	return h, nil
}

func (t *tarReader) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = streamError(err)
	}
	return n, err
}

// streamError keeps what a provider says, and makes an error of the way to the sandbox of a stream that is no tar.
func streamError(err error) error {
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	if _, ok := errors.AsType[*sandbox.Error](err); ok {
		return err
	}
	return &sandbox.Error{Op: "receive", Kind: sandbox.KindInternal, Err: err}
}
