package executor

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

// entry is a file, a folder or a symbolic link to be put into a sandbox.
type entry struct {
	name string // in the sandbox: relative to the workspace, or absolute
	mode fs.FileMode
	size int64
	time time.Time
	link string
	open func() (io.ReadCloser, error) // of a regular file
}

// inBuffer is the most bytes of content that are put into one buffer; more is streamed.
const inBuffer = 1 << 20

// archive is entries as the tars to send: one for the workspace and one for absolute paths.
type archive struct{ workspace, absolute []entry }

func (a *archive) add(e entry) {
	name := path.Clean(e.name)
	if path.IsAbs(name) {
		e.name = strings.TrimPrefix(name, "/")
		a.absolute = append(a.absolute, e)
		return
	}
	e.name = name
	a.workspace = append(a.workspace, e)
}

// tars returns each part with the folder it goes to, and leaves out those without entries.
func (a *archive) tars() []part {
	var parts []part
	if len(a.workspace) > 0 {
		parts = append(parts, part{dir: ".", entries: a.workspace})
	}
	if len(a.absolute) > 0 {
		parts = append(parts, part{dir: "/", entries: a.absolute})
	}
	return parts
}

// part is entries for one folder. It can be sent several times.
type part struct {
	dir     string
	entries []entry
	packed  []byte // the tar, if it is small
}

// pack makes the tar of a part whose content is small, so that it is read once however often it is sent.
func (p *part) pack() error {
	var size int64
	for _, e := range p.entries {
		size += e.size
	}
	if size > inBuffer {
		return nil
	}
	var b bytes.Buffer
	if err := writeTar(&b, p.entries); err != nil {
		return err
	}
	p.packed = b.Bytes()
	return nil
}

// send hands the part to a sandbox. local is an error of this machine's files.
func (p *part) send(ctx context.Context, b *box) (local, err error) {
	if p.packed != nil {
		return nil, b.sb.Send(ctx, p.dir, bytes.NewReader(p.packed))
	}
	return pipe(func(w io.Writer) error { return writeTar(w, p.entries) }, func(r io.Reader) error { return b.sb.Send(ctx, p.dir, r) })
}

// pipe connects two sides that stream. An error of the writing side, or a panic there, is not mixed up with what it
// makes of the reading side.
func pipe(write func(io.Writer) error, read func(io.Reader) error) (writeErr, readErr error) {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		var err error
		defer func() {
			if v := recover(); v != nil {
				err = asPanic(v)
			}
			w.CloseWithError(err) // nil is the end of the stream
			done <- err
		}()
		err = write(w)
	}()
	defer func() { // also where read panics
		r.CloseWithError(errUnread)
		if writeErr = <-done; errors.Is(writeErr, errUnread) {
			writeErr = nil
		}
	}()
	return nil, read(r)
}

// errUnread is what a writer gets whose reader has had enough.
var errUnread = errors.New("the other side has stopped reading")

func writeTar(w io.Writer, entries []entry) error {
	t := tar.NewWriter(w)
	for _, e := range entries {
		if err := writeEntry(t, e); err != nil {
			return err
		}
	}
	return t.Close()
}

func writeEntry(t *tar.Writer, e entry) error {
	h := &tar.Header{Name: e.name, Mode: int64(e.mode.Perm()), ModTime: e.time, Format: tar.FormatPAX}
	switch {
	case e.mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, e.name+"/"
	case e.mode&fs.ModeSymlink != 0:
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, e.link, 0o777
	default:
		h.Typeflag, h.Size = tar.TypeReg, e.size
	}
	if err := t.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", e.name, err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	r, err := e.open()
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.CopyN(t, r, e.size); errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: it was cut while it was read", e.name)
	} else if err != nil {
		return err
	}
	return nil
}
