package executor

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sbxrun/sbxrun/internal/mask"
)

// extraction writes what comes out of a sandbox below one folder. Nothing of it is trusted: names that lead out are
// refused, files are only ever made new, symbolic links are made last and only those that stay inside, and every call goes
// through an os.Root, so that a mistake here could not lead out either.
type extraction struct {
	to   artifactDir
	mask *mask.Mask

	root    *os.Root // nil: nothing was written yet
	linked  []link
	taken   []entry  // what was written, as verify stages it
	refused []string // what was not, for people
	more    int      // that were refused beside those
}

type link struct {
	name, disk, target string
	header             *tar.Header
}

// refuse notes what is not taken. It returns nil: the rest is taken still.
func (x *extraction) refuse(format string, args ...any) {
	if len(x.refused) < maxTold {
		x.refused = append(x.refused, fmt.Sprintf(format, args...))
	} else {
		x.more++
	}
}

// take writes one entry. The error is of this machine, or of the stream.
func (x *extraction) take(h *tar.Header, content io.Reader) error {
	name := path.Clean(h.Name)
	if h.Name == "" || name == "." && h.Typeflag == tar.TypeDir {
		return nil
	}
	if strings.ContainsRune(name, 0) || !filepath.IsLocal(filepath.FromSlash(name)) {
		x.refuse("%q is no path inside a folder", h.Name)
		return nil
	}
	disk := x.mask.Text(name) // the name is shown wherever the artifacts are
	switch h.Typeflag {
	case tar.TypeReg:
		return x.file(name, disk, h, content)
	case tar.TypeDir:
		return nil // folders are made for what is in them
	case tar.TypeSymlink:
		x.linked = append(x.linked, link{name, disk, h.Linkname, h})
		return nil
	}
	x.refuse("%q is %s: only files are taken", name, describeType(h.Typeflag))
	return nil
}

func (x *extraction) file(name, disk string, h *tar.Header, content io.Reader) error {
	if err := x.open(); err != nil {
		return err
	}
	// The owner, who runs sbxrun, may always read and remove it; nobody gets more than the sandbox gave.
	mode := h.FileInfo().Mode().Perm()
	if err := x.mkdir(path.Dir(disk)); err != nil {
		return x.unlessName(err, name)
	}
	f, err := x.root.OpenFile(disk, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode&0o755|0o600)
	if errors.Is(err, fs.ErrExist) {
		x.refuse("%q comes twice", name)
		return nil
	}
	if err != nil {
		return x.unlessName(err, name)
	}
	n, err := io.Copy(f, content)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	root := x.to.full()
	x.taken = append(x.taken, entry{
		name: name, mode: mode, size: n, time: h.ModTime,
		open: func() (io.ReadCloser, error) { return os.OpenInRoot(root, disk) },
	})
	return nil
}

func (x *extraction) open() (err error) {
	if x.root == nil {
		x.root, err = x.to.open()
	}
	return err
}

func (x *extraction) mkdir(dir string) error {
	if dir == "." {
		return nil
	}
	return x.root.MkdirAll(dir, 0o777)
}

// unlessName refuses an entry whose name this machine cannot have; other errors stay.
func (x *extraction) unlessName(err error, name string) error {
	for _, e := range []error{syscall.ENAMETOOLONG, syscall.EINVAL, syscall.EILSEQ, syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, fs.ErrExist} {
		if errors.Is(err, e) {
			x.refuse("%q cannot be a file here: %v", name, e)
			return nil
		}
	}
	return err
}

// links makes the symbolic links, which no file was written through therefore. One that leads out of the folder, by
// whatever way, is taken away again and refused; one that leads to something inside that was not taken stays.
func (x *extraction) links() error {
	if len(x.linked) == 0 {
		return nil
	}
	if err := x.open(); err != nil {
		return err
	}
	made := x.linked[:0:0]
	for _, l := range x.linked {
		l.target = x.mask.Text(l.target) // which is judged as it is written: with less in it, it leads elsewhere
		if path.IsAbs(l.target) || !filepath.IsLocal(filepath.Join(path.Dir(l.disk), l.target)) {
			x.refuse("%q is a symbolic link out, to %q", l.name, l.target)
			continue
		}
		err := x.mkdir(path.Dir(l.disk))
		if err == nil {
			err = x.root.Symlink(l.target, l.disk)
		}
		if errors.Is(err, fs.ErrExist) {
			x.refuse("%q comes twice", l.name)
			continue
		}
		if err != nil {
			if err := x.unlessName(err, l.name); err != nil {
				return err
			}
			continue
		}
		made = append(made, l)
	}
	// A link may lead out by way of others, so all are there before any is judged. Taking one away leaves others that
	// led through it without an end, never with another one.
	for _, l := range made {
		if _, err := x.root.Stat(l.disk); err != nil && !errors.Is(err, fs.ErrNotExist) {
			if err := x.root.Remove(l.disk); err != nil {
				return err
			}
			x.refuse("%q is a symbolic link out or in circles, to %q", l.name, l.target)
			continue
		}
		x.taken = append(x.taken, entry{name: l.name, mode: fs.ModeSymlink, link: l.target, time: l.header.ModTime})
	}
	return nil
}

func (x *extraction) close() {
	if x.root != nil {
		x.root.Close() // what was written is closed
	}
}

// artifactDir is where the artifacts of one sandbox go.
type artifactDir struct {
	sample *freshDir // of all sandboxes of the sample
	name   string    // of the sandbox's folder in it
}

func (d artifactDir) full() string {
	return filepath.Join(d.sample.run, filepath.FromSlash(d.sample.path), d.name)
}

func (d artifactDir) open() (*os.Root, error) {
	if err := d.sample.make(); err != nil {
		return nil, fmt.Errorf("make a folder for artifacts: %w", err)
	}
	if err := os.Mkdir(d.full(), 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make a folder for artifacts: %w", err)
	}
	return os.OpenRoot(d.full())
}
