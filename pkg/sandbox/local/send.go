package local

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/wire"
)

// What is sent to the spawner at once: so many entries, and small files with so many bytes together. A larger file
// ends its batch and is streamed.
const (
	batchEntries = 256
	batchBytes   = 1 << 20
	inlineBytes  = 32 << 10 // up to here the contents are part of the message
)

// Send unpacks a tar stream in the sandbox.
func (s *Sandbox) Send(ctx context.Context, dir string, stream io.Reader) error {
	if err := s.check(ctx, "send"); err != nil {
		return err
	}
	b := &batch{s: s, ctx: ctx, dir: absolute(dir)}
	err := b.unpack(tar.NewReader(stream))
	select {
	case <-s.released:
		if err != nil {
			return s.errReleased("send")
		}
	default:
	}
	return wrap(ctx, "send", s.id, err)
}

func absolute(p string) string {
	if path.IsAbs(p) {
		return path.Clean(p)
	}
	return path.Join(sandbox.Workspace, p)
}

// batch collects entries until it is worth a process in the sandbox that makes them.
type batch struct {
	s       *Sandbox
	ctx     context.Context
	dir     string
	entries []wire.Entry
	small   []byte // contents of the files among them
	sent    bool

	// Modes of folders are set last, since they may forbid to make what is in them.
	folders []wire.Entry
}

// invalid is an error of a request; wrap completes it.
func invalid(format string, args ...any) error {
	return &sandbox.Error{Kind: sandbox.KindInvalid, Err: fmt.Errorf(format, args...)}
}

func (b *batch) unpack(r *tar.Reader) error {
	for {
		if b.ctx.Err() != nil {
			return context.Cause(b.ctx)
		}
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return invalid("tar: %w", err)
		}
		if err := b.add(h, r); err != nil {
			return err
		}
	}
	for _, v := range slices.Backward(b.folders) {
		b.entries = append(b.entries, v)
		if len(b.entries) == batchEntries {
			if err := b.flush(nil); err != nil {
				return err
			}
		}
	}
	if len(b.entries) > 0 || !b.sent { // an empty stream makes dir
		return b.flush(nil)
	}
	return nil
}

func (b *batch) add(h *tar.Header, content io.Reader) error {
	e := wire.Entry{Name: relative(h.Name), Mode: uint32(h.Mode) & 0o777}
	if strings.ContainsRune(h.Name, 0) || strings.ContainsRune(h.Linkname, 0) {
		return invalid("tar: %q: a name with a zero byte", h.Name)
	}
	if e.Name == "." && h.Typeflag != tar.TypeDir {
		return invalid("tar: %q: not a name", h.Name)
	}
	switch h.Typeflag {
	case tar.TypeReg:
		e.Kind, e.Size = wire.File, h.Size
	case tar.TypeDir:
		e.Kind = wire.Folder
		b.folders = append(b.folders, wire.Entry{Kind: wire.Chmod, Name: e.Name, Mode: e.Mode})
	case tar.TypeSymlink:
		e.Kind, e.Link = wire.Symlink, h.Linkname
	case tar.TypeLink:
		e.Kind, e.Link = wire.Hardlink, relative(h.Linkname)
	default:
		return invalid("tar: %q: an entry of type %q cannot be sent", h.Name, h.Typeflag)
	}
	b.entries = append(b.entries, e)
	if e.Size > batchBytes {
		return b.flush(content)
	}
	if e.Size > 0 {
		start := len(b.small)
		b.small = append(b.small, make([]byte, e.Size)...)
		if _, err := io.ReadFull(content, b.small[start:]); err != nil {
			return invalid("tar: %q: %w", h.Name, err)
		}
	}
	if len(b.entries) >= batchEntries || len(b.small) >= batchBytes {
		return b.flush(nil)
	}
	return nil
}

// relative turns a name of a tar into one below the folder it is unpacked to.
func relative(name string) string {
	if name = strings.TrimPrefix(path.Clean("/"+name), "/"); name == "" {
		return "."
	}
	return name
}

// flush has the entries made. The content of the last file comes from large, if that is set.
func (b *batch) flush(large io.Reader) error {
	b.sent = true
	req := &wire.Send{ID: b.s.id, Dir: b.dir, Entries: b.entries}
	var err error
	if large == nil && len(b.small) <= inlineBytes {
		req.Content = b.small
		var sent *sending
		if sent, err = b.begin(req); err == nil {
			err = sent.wait(nil)
		}
	} else {
		err = b.stream(req, large)
	}
	if err != nil && b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	b.entries, b.small = b.entries[:0], b.small[:0]
	return err
}

// stream sends a request whose contents go through a pipe.
func (b *batch) stream(req *wire.Send, large io.Reader) error {
	r, w, err := pipe()
	if err != nil {
		return err
	}
	feed, err := ours(w, "files")
	if err != nil {
		unix.Close(r)
		return err
	}
	defer feed.Close()
	sent, err := b.begin(req, r)
	unix.Close(r) // the pipe is to break when the process ends before it has read everything
	if err != nil {
		return err
	}
	fed := make(chan error, 1)
	go func() {
		_, err := feed.Write(b.small)
		if err == nil && large != nil {
			_, err = io.CopyN(feed, &source{large}, b.entries[len(b.entries)-1].Size)
		}
		feed.Close() // an end that comes early makes the process fail
		fed <- err
	}()
	err = sent.wait(feed)
	feed.Close()
	var bad *sourceError
	if ferr := <-fed; errors.As(ferr, &bad) { // the reason for what the process says
		err = invalid("tar: %w", bad.err)
	}
	return err
}

// sending is a request under way.
type sending struct {
	*batch
	seq uint64
	ch  chan answer
}

func (b *batch) begin(req *wire.Send, files ...int) (s *sending, err error) {
	s = &sending{batch: b}
	s.seq, s.ch, err = b.s.client.begin(wire.Request{Send: req}, files...)
	return s, err
}

// wait returns when the entries are made. It ends that when the context is cancelled; feed is what the contents come
// through, or nil.
func (s *sending) wait(feed io.Closer) error {
	var a answer
	select {
	case a = <-s.ch:
	case <-s.ctx.Done():
		if feed != nil {
			feed.Close() // and where the process does not come to notice it:
		}
		kill := wire.Request{Signal: &wire.Signal{ID: s.s.id, Exec: s.seq, Signal: int(unix.SIGKILL)}}
		_, _, _ = s.s.client.call(context.WithoutCancel(s.ctx), kill) // an error is the spawner's end, which ends all
		a = <-s.ch
	}
	_, _, err := a.result()
	return err
}

// source tells errors of reading from those of writing.
type source struct{ io.Reader }

type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }

func (s *source) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = &sourceError{err}
	}
	return n, err
}
