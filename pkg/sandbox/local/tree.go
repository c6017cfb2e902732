package local

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/wire"
)

// tree reads a sandbox's files for one Receive.
type tree struct {
	s      *files
	ctx    context.Context
	found  map[string]place // by name in the tar
	names  int              // bytes of the names together
	extra  int64            // bytes that files claim to have and that take no room on the disk
	inodes map[inode]bool   // that were counted
}

// place is where an entry is.
type place struct {
	absolute bool   // path is below the root, not the workspace
	path     string // without a leading slash
}

type inode struct{ dev, ino uint64 }

// maxNames bounds the memory that names take: what runs in a sandbox chooses them.
const maxNames = 64 << 20

func newTree(ctx context.Context, s *files) *tree {
	return &tree{s: s, ctx: ctx, found: map[string]place{}, inodes: map[inode]bool{}}
}

// match adds what a glob matches to found.
func (t *tree) match(glob string) error {
	pattern := strings.TrimPrefix(path.Clean("/"+glob), "/")
	if pattern == "" {
		pattern = "**"
	}
	base, rest := doublestar.SplitPattern(pattern)
	if base != "." { // SplitPattern does not undo every escape that Match knows
		base = unescape(strings.TrimSuffix(pattern, "/"+rest))
	}
	w := walker{tree: t, absolute: path.IsAbs(glob), prefix: base, pattern: rest, depth: strings.Count(rest, "/")}
	if strings.Contains(rest, "**") {
		w.depth = -1
	}
	if w.absolute && (base == "proc" || strings.HasPrefix(base, "proc/")) {
		return invalid("glob %q: the kernel's files in /proc cannot be received", glob)
	}
	return w.walk("", false)
}

// unescape removes the backslashes of a pattern without other special characters.
func unescape(pattern string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == '\\' && i+1 < len(pattern) {
			i++
		}
		b.WriteByte(pattern[i])
	}
	return b.String()
}

// walker walks for one glob.
type walker struct {
	*tree
	absolute bool
	prefix   string // where the walk begins
	pattern  string // what paths below the prefix have to match
	depth    int    // slashes in a path that may match; -1: any
}

// walk looks at a folder; within is true in what has matched.
func (w *walker) walk(rel string, within bool) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	dir, err := w.s.openRead(place{w.absolute, path.Join(w.prefix, rel)}, unix.O_DIRECTORY)
	if err != nil {
		return gone(err)
	}
	entries, err := dir.ReadDir(-1)
	dir.Close()
	if err != nil {
		return gone(err)
	}
	for _, e := range entries {
		name := path.Join(rel, e.Name())
		full := path.Join(w.prefix, name)
		if w.absolute && full == "proc" {
			continue
		}
		matched, err := doublestar.Match(w.pattern, name)
		if err != nil {
			return invalid("glob: %v", err)
		}
		if matched = matched || within; matched {
			if _, there := w.found[full]; !there {
				if w.names += len(full); w.names > maxNames {
					return invalid("the names of the files are longer than %d bytes together", maxNames)
				}
				w.found[full] = place{w.absolute, full}
			}
		}
		if e.IsDir() && (matched || w.depth < 0 || strings.Count(name, "/") < w.depth) {
			if err := w.walk(name, matched); err != nil {
				return err
			}
		}
	}
	return nil
}

// gone forgives what happens where files are removed or replaced while they are read: they are not there then.
func gone(err error) error {
	for _, e := range []error{unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ESTALE} {
		if errors.Is(err, e) {
			return nil
		}
	}
	if errors.Is(err, unix.ENAMETOOLONG) {
		return invalid("%v", err)
	}
	return err
}

// openat opens what is at a place, through no symlink.
func (s *files) openat(p place, flags uint64) (*os.File, error) {
	base := s.disk
	if p.absolute {
		base = s.root
	}
	name := p.path
	if name == "" {
		name = "."
	}
	fd, err := unix.Openat2(int(base.Fd()), name, &unix.OpenHow{
		Flags:   flags | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: p.path, Err: err}
	}
	return os.NewFile(uintptr(fd), p.path), nil
}

// openRead opens a file or folder for reading. What its owner may not read is opened by the spawner, which may.
func (s *files) openRead(p place, flags uint64) (*os.File, error) {
	f, err := s.openat(p, unix.O_RDONLY|unix.O_NONBLOCK|flags)
	return s.orSpawner(p, false, f, err)
}

// openLook opens whatever is at a place, only to look at it. It may be in folders that their owner may not enter.
func (s *files) openLook(p place) (*os.File, error) {
	f, err := s.openat(p, unix.O_PATH)
	return s.orSpawner(p, true, f, err)
}

// orSpawner has the spawner open what this process, with this error, may not.
func (s *files) orSpawner(p place, look bool, f *os.File, err error) (*os.File, error) {
	if !errors.Is(err, unix.EACCES) {
		return f, err
	}
	if s.client == nil {
		return nil, invalid("%w", err)
	}
	name := p.path
	if !p.absolute {
		name = path.Join(sandbox.Workspace[1:], p.path)
	}
	_, files, cerr := s.client.call(context.Background(), wire.Request{Open: &wire.Open{ID: s.id, Path: name, Look: look}})
	if e, ok := errors.AsType[*wire.Error](cerr); ok && e.Errno != 0 {
		return nil, &os.PathError{Op: "open", Path: p.path, Err: unix.Errno(e.Errno)}
	}
	if cerr != nil {
		return nil, err
	}
	return os.NewFile(uintptr(files[0]), p.path), nil
}

// write adds one entry to the tar.
func (t *tree) write(out *tar.Writer, name string) error {
	p := t.found[name]
	look, err := t.s.openLook(p)
	if err != nil {
		return gone(err)
	}
	defer look.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(look.Fd()), &st); err != nil {
		return gone(err)
	}
	h := &tar.Header{
		Name: name, Mode: int64(st.Mode & 0o777), ModTime: time.Unix(st.Mtim.Sec, 0), Format: tar.FormatPAX,
		Typeflag: tar.TypeFifo, // a socket has no type of its own in a tar
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return t.writeFile(out, h, p, look, &st)
	case unix.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
	case unix.S_IFLNK:
		buf := make([]byte, 4096)
		n, err := unix.Readlinkat(int(look.Fd()), "", buf)
		if err != nil {
			return gone(err)
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, string(buf[:n])
	case unix.S_IFCHR:
		h.Typeflag = tar.TypeChar
	case unix.S_IFBLK:
		h.Typeflag = tar.TypeBlock
	}
	return out.WriteHeader(h)
}

func (t *tree) writeFile(out *tar.Writer, h *tar.Header, p place, look *os.File, st *unix.Stat_t) error {
	// The file that was looked at, not what is at its place now.
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", look.Fd()), unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.EACCES) {
		f, err = t.s.openRead(p, 0)
		if err == nil {
			err = unix.Fstat(int(f.Fd()), st)
		}
		if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
			f.Close()
			return nil // replaced meanwhile
		}
	}
	if errors.Is(err, unix.EWOULDBLOCK) { // waiting for it to be given up may take fs.lease-break-time, 45 s, for each file
		return invalid("%s: a process in the sandbox holds a lease on it", h.Name)
	}
	if err != nil {
		return gone(err)
	}
	defer f.Close()
	if err := t.account(h.Name, st); err != nil {
		return err
	}
	h.Typeflag, h.Size = tar.TypeReg, st.Size
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(out, io.LimitReader(f, h.Size))
	if err != nil {
		return err
	}
	if n < h.Size { // it has shrunk meanwhile
		_, err = io.CopyN(out, zeros{}, h.Size-n)
	}
	return err
}

// account refuses files that together claim far more than there is room for: holes, and many names of one file.
func (t *tree) account(name string, st *unix.Stat_t) error {
	i := inode{st.Dev, st.Ino}
	held := st.Blocks * 512
	if t.inodes[i] {
		held = 0
	}
	t.inodes[i] = true
	if t.extra += max(0, st.Size-held); t.extra > t.s.spec.Limits.Disk {
		return invalid("%s: the files claim to be larger than the sandbox's disk", name)
	}
	return nil
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
