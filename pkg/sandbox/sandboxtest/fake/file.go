package fake

import (
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"syscall"
	"time"
)

// devices are the files of /dev, as what a read fills in and what a write returns.
var devices = map[string]struct {
	read  func([]byte) (int, error)
	write error
}{
	"null":    {read: func([]byte) (int, error) { return 0, io.EOF }},
	"zero":    {read: func(b []byte) (int, error) { clear(b); return len(b), nil }},
	"full":    {read: func(b []byte) (int, error) { clear(b); return len(b), nil }, write: syscall.ENOSPC},
	"urandom": {read: randomBytes},
	"random":  {read: randomBytes},
}

func randomBytes(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return len(b), nil
}

// file is an open file.
type file struct {
	v    *vfs
	node *inode
	name string // in /dev
	path string
	flag int
	off  int
}

// open opens an absolute path as open(2) does; perm is for a file that is made.
func (v *vfs) open(p string, flag int, perm fs.FileMode) (*file, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f, err := v.openLocked(p, flag, perm)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: p, Err: err}
	}
	return f, nil
}

func (v *vfs) openLocked(p string, flag int, perm fs.FileMode) (*file, error) {
	at, err := v.lookup(p, flag&os.O_EXCL == 0)
	if err != nil {
		return nil, err
	}
	writes := flag&(os.O_WRONLY|os.O_RDWR) != 0
	switch n := at.node; {
	case n == nil && flag&os.O_CREATE == 0:
		return nil, syscall.ENOENT
	case n == nil:
		if at.dir.mode&0o200 == 0 {
			return nil, syscall.EACCES
		}
		at.node = newInode(perm.Perm())
		if err := v.add(at, at.node); err != nil {
			return nil, err
		}
		return &file{v: v, node: at.node, path: p, flag: flag}, nil
	case flag&os.O_EXCL != 0:
		return nil, syscall.EEXIST
	case n.mode.IsDir() && writes:
		return nil, syscall.EISDIR
	case n.mode&fs.ModeDevice != 0:
		return &file{v: v, node: n, name: at.name, path: p, flag: flag}, nil
	case n.mode&(fs.ModeNamedPipe|fs.ModeSocket) != 0:
		return nil, syscall.ENXIO // nobody is ever at the other end
	case writes && n.mode&0o200 == 0, !writes && n.mode&0o400 == 0:
		return nil, syscall.EACCES
	}
	if flag&os.O_TRUNC != 0 {
		_ = v.resize(at.node, 0) // shrinking needs no room
	}
	return &file{v: v, node: at.node, path: p, flag: flag}, nil
}

func (f *file) Read(b []byte) (int, error) {
	if f.name != "" {
		return devices[f.name].read(b)
	}
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	if f.node.mode.IsDir() {
		return 0, &fs.PathError{Op: "read", Path: f.path, Err: syscall.EISDIR}
	}
	if f.off >= len(f.node.data) {
		return 0, io.EOF
	}
	n := copy(b, f.node.data[f.off:])
	f.off += n
	return n, nil
}

func (f *file) Write(b []byte) (int, error) {
	if f.name != "" {
		if err := devices[f.name].write; err != nil {
			return 0, &fs.PathError{Op: "write", Path: f.path, Err: err}
		}
		return len(b), nil
	}
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	if f.flag&os.O_APPEND != 0 {
		f.off = len(f.node.data)
	}
	if end := f.off + len(b); end > len(f.node.data) {
		room := len(f.node.data) + int(max(0, f.v.limits.Disk-f.v.bytes))
		if err := f.v.resize(f.node, int64(min(end, room))); err != nil {
			return 0, &fs.PathError{Op: "write", Path: f.path, Err: err}
		}
		if end > room {
			f.v.full++
			n := copy(f.node.data[min(f.off, room):], b)
			f.off += n
			return n, &fs.PathError{Op: "write", Path: f.path, Err: syscall.ENOSPC}
		}
	}
	n := copy(f.node.data[f.off:], b)
	f.off += n
	f.node.mtime = time.Now()
	return n, nil
}

func (f *file) Close() error { return nil }

// info is the fs.FileInfo of an inode as it was when asked.
type info struct {
	name  string
	size  int64
	mode  fs.FileMode
	mtime time.Time
	node  *inode
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return i.mtime }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return i.node }

func (n *inode) info(name string) info {
	size := int64(len(n.data))
	if n.mode&fs.ModeSymlink != 0 {
		size = int64(len(n.link))
	}
	return info{name: name, size: size, mode: n.mode, mtime: n.mtime, node: n}
}
