package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/sbxrun/sbxrun/internal/mask"
)

// MaxText is the most bytes of a text that are loaded where the whole is needed: to normalise it, to parse it as JSON,
// or for an expression. It is twice the default limit of output.
const MaxText = 32 << 20

// Source is a text that can be read several times.
type Source interface {
	// Open returns the content from its start. A reader that is an io.Seeker makes findings in long texts cheap.
	Open() (io.ReadCloser, error)
	// Size is the number of bytes.
	Size() int64
}

// Bytes returns a Source in memory.
func Bytes(b []byte) Source { return memory(b) }

type memory []byte

func (m memory) Size() int64                  { return int64(len(m)) }
func (m memory) Open() (io.ReadCloser, error) { return nopCloser{bytes.NewReader(m)}, nil }

// nopCloser is io.NopCloser that stays an io.Seeker.
type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }

// File returns the file at path, on this machine, as a Source. A file that does not exist is empty, as the log of a
// command that wrote nothing is.
func File(path string) Source { return file(path) }

type file string

func (f file) Size() int64 {
	info, err := os.Stat(string(f))
	if err != nil {
		return 0
	}
	return info.Size()
}

func (f file) Open() (io.ReadCloser, error) {
	r, err := os.Open(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return memory(nil).Open()
	}
	return r, err
}

// maskedSource is a Source with secrets replaced.
type maskedSource struct {
	Source
	mask *mask.Mask
	size int64
}

func (s maskedSource) Size() int64 { return s.size }

func (s maskedSource) Open() (io.ReadCloser, error) {
	r, err := s.Source.Open()
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{s.mask.Reader(r), r}, nil
}

// masked returns src with secrets replaced, which is read for its size.
func masked(ctx context.Context, src Source, secrets *mask.Mask) (Source, error) {
	if secrets == nil {
		return src, nil
	}
	s := maskedSource{Source: src, mask: secrets}
	r, err := open(ctx, s)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	s.size, err = io.Copy(io.Discard, r)
	return s, err
}

func orEmpty(s Source) Source {
	if s == nil {
		return memory(nil)
	}
	return s
}

// unfit is an error that the recipe or the code under test is to blame for: it becomes a finding.
type unfit struct{ error }

// load returns the whole of s, or an unfit error if it is beyond MaxText.
func load(ctx context.Context, s Source) ([]byte, error) {
	if m, ok := s.(memory); ok {
		return m, nil
	}
	tooLarge := func(n string) error {
		return unfit{fmt.Errorf("it is %s long and at most %s are taken where the whole text is needed", n, size(MaxText))}
	}
	if s.Size() > MaxText {
		return nil, tooLarge(size(s.Size()))
	}
	r, err := open(ctx, s)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var b bytes.Buffer
	b.Grow(int(s.Size()) + bytes.MinRead) // one allocation where the size is right
	if _, err := b.ReadFrom(io.LimitReader(r, MaxText+1)); err != nil {
		return nil, err
	}
	if b.Len() > MaxText {
		return nil, tooLarge("over " + size(MaxText))
	}
	return b.Bytes(), nil
}

// window returns up to n bytes of s from offset from.
func window(ctx context.Context, s Source, from int64, n int) ([]byte, error) {
	r, err := open(ctx, s)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if seeker, ok := r.ReadCloser.(io.Seeker); ok {
		_, err = seeker.Seek(from, io.SeekStart)
	} else {
		_, err = io.CopyN(io.Discard, r, from)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, int64(n)))
}

// stream is an opened Source whose reads end with its context.
type stream struct {
	io.ReadCloser
	ctx context.Context
}

func open(ctx context.Context, s Source) (stream, error) {
	r, err := s.Open()
	return stream{r, ctx}, err
}

func (s stream) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.ReadCloser.Read(p)
}
