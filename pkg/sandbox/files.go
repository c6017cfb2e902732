package sandbox

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
)

// File is what is known of a file in a sandbox without its content.
type File struct {
	// Name is its path: absolute, or relative to the workspace. List and Get return it as Receive names it, without a
	// leading slash.
	Name string
	Mode fs.FileMode // type and permission bits
	Size int64       // bytes of content; zero for what has none
	Time time.Time   // of the last change of the content
	Link string      // where a symlink points to
}

// Put makes or replaces one regular file, and missing parents, with exactly f.Size bytes of content and f.Mode's
// permission bits. Content that is shorter, or longer, is KindInvalid, and so is content that cannot be read. It streams.
func Put(ctx context.Context, s Sandbox, f File, content io.Reader) error {
	invalid := func(err error) error {
		return &Error{Op: "send", ID: s.ID(), Kind: KindInvalid, Err: fmt.Errorf("%s: %w", f.Name, err)}
	}
	base := path.Base(f.Name)
	if f.Name == "" || strings.HasSuffix(f.Name, "/") || base == "." || base == ".." {
		return invalid(errors.New("names no file"))
	}
	var head bytes.Buffer
	err := tar.NewWriter(&head).WriteHeader(&tar.Header{
		Name: base, Mode: int64(f.Mode.Perm()), Size: f.Size, ModTime: f.Time, Typeflag: tar.TypeReg, Format: tar.FormatPAX,
	})
	if err != nil {
		return invalid(err)
	}
	body := &exactly{r: content, left: f.Size}
	tail := bytes.NewReader(make([]byte, (512-f.Size%512)%512+1024)) // padding, and the end of the archive
	err = s.Send(ctx, path.Dir(f.Name), io.MultiReader(&head, body, tail))
	if body.err != nil {
		return invalid(body.err)
	}
	return err
}

// exactly reads left bytes, and fails where r has less or more.
type exactly struct {
	r    io.Reader
	left int64
	err  error // that is not io.EOF
}

func (e *exactly) Read(b []byte) (int, error) {
	if e.left == 0 {
		var more [1]byte
		_, err := io.ReadFull(e.r, more[:])
		if err == nil {
			err = errors.New("the content is longer than announced")
		}
		return 0, e.fail(err)
	}
	n, err := e.r.Read(b[:min(int64(len(b)), e.left)])
	e.left -= int64(n)
	if errors.Is(err, io.EOF) {
		err = nil
		if n == 0 {
			err = fmt.Errorf("the content is %d bytes shorter than announced", e.left)
		}
	}
	return n, e.fail(err)
}

func (e *exactly) fail(err error) error {
	if err != nil && !errors.Is(err, io.EOF) {
		e.err = err
	}
	return err
}

// Get opens one regular file. Nothing there is KindNotFound; something else than a file, a symlink too, is
// KindInvalid. The caller closes the content.
func Get(ctx context.Context, s Sandbox, name string) (File, io.ReadCloser, error) {
	stream, err := s.Receive(ctx, []string{EscapeGlob(name)})
	if err != nil {
		return File{}, nil, err
	}
	r := tar.NewReader(stream)
	f, err := next(s, r)
	switch {
	case errors.Is(err, io.EOF):
		err = &Error{Op: "receive", ID: s.ID(), Kind: KindNotFound, Err: fmt.Errorf("%s: %w", name, fs.ErrNotExist)}
	case err == nil && !f.Mode.IsRegular():
		err = &Error{Op: "receive", ID: s.ID(), Kind: KindInvalid, Err: fmt.Errorf("%s: not a regular file but %v", name, f.Mode)}
	}
	if err != nil {
		return File{}, nil, errors.Join(err, stream.Close())
	}
	return f, content{r, stream}, nil
}

type content struct {
	io.Reader
	io.Closer
}

// List names what the globs match, in Receive's order, without the content. Every byte of it is still read from
// the sandbox, so that it is for folders of results and not for whole trees.
func List(ctx context.Context, s Sandbox, globs ...string) ([]File, error) {
	stream, err := s.Receive(ctx, globs)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	r := tar.NewReader(stream)
	var list []File
	for {
		f, err := next(s, r)
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		list = append(list, f)
	}
}

// Exists says whether there is something of this name, be it a symlink that leads nowhere.
func Exists(ctx context.Context, s Sandbox, name string) (bool, error) {
	stream, err := s.Receive(ctx, []string{EscapeGlob(name)})
	if err != nil {
		return false, err
	}
	defer stream.Close()
	_, err = next(s, tar.NewReader(stream))
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil, err
}

// next reads one header; io.EOF is the end.
func next(s Sandbox, r *tar.Reader) (File, error) {
	h, err := r.Next()
	if err != nil {
		if _, typed := errors.AsType[*Error](err); !typed && !errors.Is(err, io.EOF) {
			err = &Error{Op: "receive", ID: s.ID(), Kind: KindInternal, Err: fmt.Errorf("reading the tar: %w", err)}
		}
		return File{}, err
	}
	return File{Name: path.Clean(h.Name), Mode: h.FileInfo().Mode(), Size: h.Size, Time: h.ModTime, Link: h.Linkname}, nil
}

// EscapeGlob returns a glob that matches the path and nothing else.
func EscapeGlob(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if strings.IndexByte(`*?[]{}\`, name[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(name[i])
	}
	return b.String()
}
