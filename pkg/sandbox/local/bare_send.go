package local

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Send unpacks a tar stream below dir. os.Root keeps it there.
func (b *bare) Send(ctx context.Context, dir string, stream io.Reader) error {
	if err := b.check(ctx, "send"); err != nil {
		return err
	}
	err := b.unpack(ctx, b.absolute(dir), tar.NewReader(stream))
	var known *sandbox.Error
	if err != nil && ctx.Err() == nil && !errors.As(err, &known) {
		kind := sandbox.KindInvalid
		if errors.Is(err, syscall.ENOSPC) {
			kind = sandbox.KindNoSpace
		}
		err = &sandbox.Error{Kind: kind, Err: err}
	}
	return wrap(ctx, "send", b.id, err)
}

func (b *bare) unpack(ctx context.Context, dir string, r *tar.Reader) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	modes := map[string]fs.FileMode{}
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		select {
		case <-b.released:
			return b.errReleased("send")
		default:
		}
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := unpackEntry(root, h, r, modes); err != nil {
			return fmt.Errorf("tar: %q: %w", h.Name, err)
		}
	}
	for name, mode := range modes {
		if err := root.Chmod(name, mode); err != nil {
			return err
		}
	}
	return nil
}

func unpackEntry(root *os.Root, h *tar.Header, content io.Reader, modes map[string]fs.FileMode) error {
	name, mode := relative(h.Name), fs.FileMode(h.Mode).Perm()
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir {
		if _, err := root.Lstat(name); err == nil {
			return root.MkdirAll(name, 0o755) // the mode of a folder of the host's stays what it is
		}
		modes[name] = mode
		return root.MkdirAll(name, 0o755)
	}
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg:
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, content)
		return errors.Join(err, f.Chmod(mode), f.Close())
	case tar.TypeSymlink:
		return root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		return root.Link(relative(h.Linkname), name)
	}
	return fmt.Errorf("an entry of type %q cannot be sent", h.Typeflag)
}
