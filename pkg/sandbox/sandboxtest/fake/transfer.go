package fake

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
	"syscall"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Send unpacks a tar stream.
func (s *Sandbox) Send(ctx context.Context, dir string, stream io.Reader) error {
	if err := s.ready(ctx, "send", Send); err != nil {
		return err
	}
	s.p.count(&s.p.stats.Sends)
	life := s.life.Load()
	refuse := func(err error) error {
		kind := sandbox.KindInvalid
		if errors.Is(err, syscall.ENOSPC) {
			kind = sandbox.KindNoSpace
		}
		return asError(ctx, "send", s.id, kind, err)
	}
	base := absolute(sandbox.Workspace, dir)
	if err := life.disk().mkdir(base, true); err != nil {
		return refuse(fmt.Errorf("%s: %w", dir, err))
	}
	r := tar.NewReader(&watched{life: life, ctx: ctx, r: stream})
	modes := map[string]fs.FileMode{} // of directories, set last: one that is not writable still takes its content
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = life.disk().unpack(base, h, r)
		}
		if err != nil {
			return refuse(err)
		}
		if h.Typeflag == tar.TypeDir {
			modes[inside(base, h.Name)] = fs.FileMode(h.Mode)
		}
	}
	for dir, mode := range modes {
		if err := life.disk().chmod(dir, func(fs.FileMode) fs.FileMode { return mode }); err != nil {
			return refuse(err)
		}
	}
	return nil
}

// inside is where the name of an entry leads: never above base.
func inside(base, name string) string { return path.Join(base, path.Clean("/"+name)) }

// watched is a stream that breaks off when the call or the sandbox ends.
type watched struct {
	life *life
	ctx  context.Context
	r    io.Reader
}

func (w *watched) Read(b []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	if err := w.life.check("send"); err != nil {
		return 0, err
	}
	return w.r.Read(b)
}

// unpack makes one entry of a tar under base. Directories on the way that are symlinks are refused: they lead somewhere
// that the stream did not name.
func (v *vfs) unpack(base string, h *tar.Header, content io.Reader) error {
	name := path.Clean("/" + h.Name)
	full := inside(base, h.Name)
	wrap := func(err error) error {
		if err == nil {
			return nil
		}
		return fmt.Errorf("%q: %w", h.Name, err)
	}
	if err := v.clear(base, name, h.Typeflag == tar.TypeDir); err != nil {
		return wrap(err)
	}
	mode := fs.FileMode(h.Mode).Perm()
	switch h.Typeflag {
	case tar.TypeDir:
		return wrap(v.mkdir(full, true))
	case tar.TypeReg:
		f, err := v.open(full, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		if _, err := io.Copy(f, content); err != nil {
			return wrap(err)
		}
		return wrap(v.chmod(full, func(fs.FileMode) fs.FileMode { return mode }))
	case tar.TypeSymlink:
		return wrap(v.make(full, fs.ModeSymlink|0o777, h.Linkname))
	case tar.TypeLink:
		return wrap(v.hardLink(inside(base, h.Linkname), full))
	}
	return wrap(fmt.Errorf("an entry of type %q cannot be sent", h.Typeflag))
}

// clear makes the parents of name under base and removes what stands in its place.
func (v *vfs) clear(base, name string, dir bool) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	at := base
	for part := range strings.SplitSeq(strings.Trim(path.Dir(name), "/"), "/") {
		at = path.Join(at, part)
		switch p, err := v.lookup(at, at == base); {
		case err != nil:
			return err
		case p.node == nil:
			if err := v.add(p, newInode(fs.ModeDir|0o755)); err != nil {
				return err
			}
		case !p.node.mode.IsDir():
			return fmt.Errorf("%s: %w", at, syscall.ENOTDIR)
		}
	}
	switch p, err := v.lookup(path.Join(base, name), name == "/"); {
	case err != nil:
		return err
	case p.node == nil || dir && p.node.mode.IsDir():
		return nil
	case dir:
		return syscall.ENOTDIR
	case p.node.mode.IsDir():
		return syscall.EISDIR
	default:
		v.drop(p)
		return nil
	}
}

// Receive streams what the globs match.
func (s *Sandbox) Receive(ctx context.Context, globs []string) (io.ReadCloser, error) {
	if err := s.ready(ctx, "receive", Receive); err != nil {
		return nil, err
	}
	s.p.count(&s.p.stats.Receives)
	life, found := s.life.Load(), map[string]*inode{}
	for _, g := range globs {
		if !doublestar.ValidatePattern(g) {
			return nil, &sandbox.Error{Op: "receive", ID: s.id, Kind: sandbox.KindInvalid, Err: fmt.Errorf("glob %q is malformed", g)}
		}
		life.disk().match(g, found)
	}
	st := &stream{s: s, life: life, ctx: ctx, fault: s.p.pick(ReceiveRead, s)}
	for name, n := range found {
		st.entries = append(st.entries, entry{name, n})
	}
	slices.SortFunc(st.entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	st.tar = tar.NewWriter(&st.buf)
	return st, nil
}

// match adds what a glob matches to found.
func (v *vfs) match(glob string, found map[string]*inode) {
	base := sandbox.Workspace
	if path.IsAbs(glob) {
		base = "/"
	}
	glob = strings.TrimPrefix(path.Clean("/"+glob), "/")
	v.mu.Lock()
	defer v.mu.Unlock()
	root, err := v.lookup(base, true)
	if err != nil || root.node == nil {
		return
	}
	var walk func(name string, n *inode, within bool)
	walk = func(name string, n *inode, within bool) {
		if ok, err := doublestar.Match(glob, name); err == nil && ok && name != "" {
			within = true
		}
		if within {
			found[name] = n
		}
		for kid, n := range n.kids {
			walk(path.Join(name, kid), n, within)
		}
	}
	walk("", root.node, glob == "")
	delete(found, "")
}

type entry struct {
	name string
	node *inode
}

// stream is a tar that is made while it is read. The content of a file is what it is when its header is read.
type stream struct {
	s       *Sandbox
	life    *life
	ctx     context.Context
	fault   *Fault
	entries []entry
	tar     *tar.Writer
	buf     bytes.Buffer
	content []byte
	sent    int64
	ended   bool
}

func (st *stream) Read(b []byte) (int, error) {
	for st.buf.Len() == 0 {
		if err := st.more(); err != nil {
			return 0, err
		}
	}
	if st.fault != nil && st.fault.Err != nil {
		if st.sent >= 512 {
			return 0, &sandbox.Error{Op: "receive", ID: st.s.id, Kind: st.fault.Kind, Err: st.fault.Err}
		}
		b = b[:min(int64(len(b)), 512-st.sent)]
	}
	n, err := st.buf.Read(b)
	st.sent += int64(n)
	return n, err
}

// more adds to the buffer: a header, or a part of a file.
func (st *stream) more() error {
	if st.ctx.Err() != nil {
		return context.Cause(st.ctx)
	}
	if err := st.life.check("receive"); err != nil {
		return err
	}
	internal := func(err error) error {
		return asError(st.ctx, "receive", st.s.id, sandbox.KindInternal, err)
	}
	switch {
	case len(st.content) > 0:
		n := min(len(st.content), 64<<10)
		_, err := st.tar.Write(st.content[:n])
		st.content = st.content[n:]
		return internal(err)
	case st.ended:
		return io.EOF
	case len(st.entries) == 0:
		st.ended = true
		return internal(st.tar.Close())
	}
	e := st.entries[0]
	st.entries = st.entries[1:]
	v := st.life.disk()
	v.mu.Lock()
	i, content := e.node.info(path.Base(e.name)), e.node.data
	v.mu.Unlock()
	h, err := tar.FileInfoHeader(hide{i}, e.node.link)
	if err != nil {
		return internal(err)
	}
	h.Name = e.name
	if i.IsDir() {
		h.Name += "/"
	}
	h.Format = tar.FormatPAX
	if i.mode.IsRegular() {
		st.content = content
	}
	return internal(st.tar.WriteHeader(h))
}

// hide keeps archive/tar from asking what is behind Sys.
type hide struct{ info }

func (hide) Sys() any { return nil }

// Close ends the stream.
func (st *stream) Close() error {
	st.ended, st.entries, st.content = true, nil, nil
	return nil
}
