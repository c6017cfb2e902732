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
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Send unpacks a tar stream below dir, and through no symlink out of it. The workspace is not left either, unless dir is
// an absolute path elsewhere: the host's files are the sandbox's.
func (b *bare) Send(ctx context.Context, dir string, stream io.Reader) error {
	if err := b.check(ctx, "send"); err != nil {
		return err
	}
	err := b.unpack(dir, tar.NewReader(&interruptible{ctx, b, stream}))
	var known *sandbox.Error
	if err != nil && !errors.As(err, &known) && (ctx.Err() == nil || !errors.Is(err, context.Cause(ctx))) {
		kind := sandbox.KindInvalid
		if errors.Is(err, syscall.ENOSPC) {
			kind = sandbox.KindNoSpace
		}
		err = &sandbox.Error{Kind: kind, Err: err}
	}
	return wrap(ctx, "send", b.id, err)
}

// interruptible is a stream that fails once its reader is cancelled, or the sandbox released.
type interruptible struct {
	ctx context.Context
	b   *bare
	r   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.b.check(i.ctx, "send"); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

// target opens the folder to unpack into, made if need be.
func (b *bare) target(dir string) (*os.Root, error) {
	dir = b.absolute(dir)
	inside, err := filepath.Rel(b.workspace(), dir)
	if err != nil || inside == ".." || strings.HasPrefix(inside, "../") {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		return os.OpenRoot(dir)
	}
	workspace, err := os.OpenRoot(b.workspace())
	if err != nil || inside == "." {
		return workspace, err
	}
	defer workspace.Close()
	if err := workspace.MkdirAll(inside, 0o755); err != nil {
		return nil, err
	}
	return workspace.OpenRoot(inside)
}

func (b *bare) unpack(dir string, r *tar.Reader) error {
	root, err := b.target(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	modes := map[string]fs.FileMode{}
	for {
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
	for name, mode := range modes { // last: it may forbid to make what is in the folder
		if err := root.Chmod(name, mode); err != nil {
			return err
		}
	}
	return nil
}

func unpackEntry(root *os.Root, h *tar.Header, content io.Reader, modes map[string]fs.FileMode) error {
	name, mode := relative(h.Name), fs.FileMode(h.Mode).Perm()
	switch h.Typeflag {
	case tar.TypeDir:
		if _, err := root.Lstat(name); err != nil { // one of the host's keeps its mode
			modes[name] = mode
		}
		return root.MkdirAll(name, 0o755)
	case tar.TypeReg, tar.TypeSymlink, tar.TypeLink:
	default:
		return fmt.Errorf("an entry of type %q cannot be sent", h.Typeflag)
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		return root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		return root.Link(relative(h.Linkname), name)
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Chmod(mode), f.Close())
}
