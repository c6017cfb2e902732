package fake

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// vfs is a file system in memory: a tree of inodes with what the kernel's rules make visible (symlinks, hard links,
// permission bits, ENOSPC). There is one user. Every method takes an absolute path.
type vfs struct {
	mu     sync.Mutex
	root   *inode
	bytes  int64 // used
	inodes int64
	limits sandbox.Limits
	full   int // how often there was no space

	scriptDir *inode
	scripts   int // that were named
}

type inode struct {
	mode  fs.FileMode
	data  []byte
	link  string // of a symlink
	kids  map[string]*inode
	names int    // hard links; zero once removed
	prog  string // of a file in /bin: the Program it stands for
	mtime time.Time
}

const maxName = 255

func newVFS(s *Sandbox) *vfs {
	v := &vfs{limits: s.spec.Limits.WithDefaults(), root: newInode(fs.ModeDir | 0o755)}
	for _, dir := range []string{sandbox.Workspace, "/tmp", "/dev", "/bin", scriptDir} {
		_ = v.mkdirAll(dir) // the disk is empty
	}
	v.scriptDir = v.root.kids["run"].kids["sbxrun"]
	for name := range devices {
		v.root.kids["dev"].kids[name] = newInode(fs.ModeDevice | fs.ModeCharDevice | 0o666)
	}
	v.root.kids["usr"] = newInode(fs.ModeDir | 0o755)
	v.root.kids["usr"].kids["bin"] = v.root.kids["bin"]
	s.p.eachProgram(func(name string) {
		n := newInode(0o755)
		n.prog = name
		v.root.kids["bin"].kids[name] = n
	})
	v.inodes = 0
	return v
}

func newInode(mode fs.FileMode) *inode {
	n := &inode{mode: mode, names: 1, mtime: time.Now()}
	if mode.IsDir() {
		n.kids = map[string]*inode{}
	}
	return n
}

// place is where a path leads: an inode, or the name it would have in a directory.
type place struct {
	dir  *inode
	name string
	node *inode // nil: nothing has this name
	path string // without symlinks
}

// lookup resolves p; follow says whether a symlink in last place is followed. An error means that a directory on
// the way is missing or is none.
func (v *vfs) lookup(p string, follow bool) (place, error) {
	return v.resolve(p, follow, 40)
}

func (v *vfs) resolve(p string, follow bool, links int) (place, error) {
	if strings.IndexByte(p, 0) >= 0 {
		return place{}, syscall.EINVAL
	}
	mustBeDir := strings.HasSuffix(p, "/")
	at := place{dir: v.root, name: ".", node: v.root, path: "/"}
	trail := []*inode{v.root}
	parts := strings.FieldsFunc(p, func(r rune) bool { return r == '/' })
	for i, part := range parts {
		switch {
		case at.node == nil:
			return place{}, syscall.ENOENT
		case !at.node.mode.IsDir():
			return place{}, syscall.ENOTDIR
		case len(part) > maxName:
			return place{}, syscall.ENAMETOOLONG
		case part == ".":
			continue
		case part == "..":
			if len(trail) > 1 {
				trail = trail[:len(trail)-1]
			}
			at = place{dir: trail[len(trail)-1], name: ".", node: trail[len(trail)-1], path: path.Dir(at.path)}
			continue
		}
		dir := at.node
		at = place{dir: dir, name: part, node: dir.kids[part], path: path.Join(at.path, part)}
		last := i == len(parts)-1
		if at.node != nil && at.node.mode&fs.ModeSymlink != 0 && (!last || follow || mustBeDir) {
			if links == 0 {
				return place{}, syscall.ELOOP
			}
			target := at.node.link
			if !path.IsAbs(target) {
				target = path.Dir(at.path) + "/" + target
			}
			if rest := strings.Join(parts[i+1:], "/"); rest != "" {
				target += "/" + rest
			}
			if mustBeDir {
				target += "/"
			}
			return v.resolve(target, follow, links-1)
		}
		if at.node != nil {
			trail = append(trail, at.node)
		}
	}
	if mustBeDir && at.node != nil && !at.node.mode.IsDir() {
		return place{}, syscall.ENOTDIR
	}
	return at, nil
}

// add puts a new inode at a place that is free.
func (v *vfs) add(at place, n *inode) error {
	if v.inodes+1 > v.limits.Inodes {
		v.full++
		return syscall.ENOSPC
	}
	v.inodes++
	at.dir.kids[at.name] = n
	at.dir.mtime = time.Now()
	return nil
}

// resize makes n's content longer, if there is room, or empty.
func (v *vfs) resize(n *inode, size int64) error {
	grow := size - int64(len(n.data))
	if grow > 0 && v.bytes+grow > v.limits.Disk {
		v.full++
		return syscall.ENOSPC
	}
	v.bytes += grow
	if size == 0 {
		n.data = nil // a stream may still read what was there
	} else {
		n.data = slices.Grow(n.data, int(grow))[:size]
		clear(n.data[size-grow:])
	}
	n.mtime = time.Now()
	return nil
}

// drop takes a name away, and the content with the last name.
func (v *vfs) drop(at place) {
	delete(at.dir.kids, at.name)
	if at.node.names--; at.node.names == 0 {
		for name, kid := range at.node.kids {
			v.drop(place{dir: at.node, name: name, node: kid})
		}
		v.bytes -= int64(len(at.node.data))
		v.inodes--
	}
}

// mkdirAll makes p and missing parents. Callers hold no lock on what it needs: it is called with mu held.
func (v *vfs) mkdirAll(p string) error {
	at, err := v.lookup(p, true)
	if errors.Is(err, syscall.ENOENT) && p != "/" {
		if err = v.mkdirAll(path.Dir(path.Clean(p))); err == nil {
			at, err = v.lookup(p, true)
		}
	}
	switch {
	case err != nil:
		return err
	case at.node == nil:
		return v.add(at, newInode(fs.ModeDir|0o755))
	case !at.node.mode.IsDir():
		return syscall.ENOTDIR
	}
	return nil
}

// absolute makes p, given in dir, absolute; it is not cleaned, because ".." after a symlink is the kernel's to resolve.
func absolute(dir, p string) string {
	if path.IsAbs(p) {
		return p
	}
	return dir + "/" + p
}

func (v *vfs) readFile(p string) ([]byte, error) {
	f, err := v.open(absolute(sandbox.Workspace, p), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(f.node.data), nil
}

func (v *vfs) writeFile(p string, content []byte, mode fs.FileMode) error {
	p = absolute(sandbox.Workspace, p)
	v.mu.Lock()
	err := v.mkdirAll(path.Dir(p))
	v.mu.Unlock()
	if err != nil {
		return &fs.PathError{Op: "mkdir", Path: path.Dir(p), Err: err}
	}
	f, err := v.open(p, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return err
}
