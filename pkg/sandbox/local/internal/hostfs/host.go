package hostfs

import (
	"errors"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// host reads a host's file system that may lie in a folder: absolute symbolic links are followed within it. What it
// saw once it does not look at again.
type host struct {
	root string
	seen map[string]seen
}

type seen struct {
	info os.FileInfo
	err  error
}

func newHost(root string) host { return host{root, map[string]seen{}} }

func (h host) lstat(p string) (os.FileInfo, error) {
	s, ok := h.seen[p]
	if !ok {
		s.info, s.err = os.Lstat(h.root + p)
		h.seen[p] = s
	}
	return s.info, s.err
}

// resolve follows every symbolic link of p. It returns the real path, the links it met, each at its real place, and
// what is there.
func (h host) resolve(p string) (real string, met []Link, info os.FileInfo, err error) {
	todo := split(p)
	real = "/"
	for hops := 0; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		if name == ".." {
			real = path.Dir(real)
			continue
		}
		next := path.Join(real, name)
		if info, err = h.lstat(next); err != nil {
			return real, met, nil, err
		}
		if info.Mode()&os.ModeSymlink == 0 {
			real = next
			continue
		}
		if hops++; hops > 40 {
			return real, met, nil, &os.PathError{Op: "resolve", Path: p, Err: syscall.ELOOP}
		}
		target, err := os.Readlink(h.root + next)
		if err != nil {
			return real, met, nil, err
		}
		met = append(met, Link{next, target})
		if path.IsAbs(target) {
			real = "/"
		}
		todo = append(split(target), todo...)
	}
	info, err = h.lstat(real)
	return real, met, info, err
}

// split returns the components of a path without empty ones and dots. ".." stays: what it means depends on links.
func split(p string) []string {
	return slices.DeleteFunc(strings.Split(p, "/"), func(s string) bool { return s == "" || s == "." })
}

func (h host) stat(p string) (os.FileInfo, error) {
	_, _, info, err := h.resolve(p)
	return info, err
}

func (h host) exists(p string) bool {
	_, err := h.stat(p)
	return err == nil
}

func (h host) isDir(p string) bool {
	info, err := h.stat(p)
	return err == nil && info.IsDir()
}

// program says whether p is a file that somebody may execute.
func (h host) program(p string) bool {
	info, err := h.stat(p)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// list returns a folder's entries by name; a folder that cannot be read has none.
func (h host) list(p string) []os.DirEntry {
	real, _, _, err := h.resolve(p)
	if err != nil {
		return nil
	}
	entries, _ := os.ReadDir(h.root + real)
	return entries
}

// maxFile is the largest file that is copied into a tree.
const maxFile = 4 << 20

// read returns a small regular file that everybody may read.
func (h host) read(p string) ([]byte, error) {
	info, err := h.stat(p)
	if err == nil && info.Mode().Perm()&0o004 == 0 {
		err = &os.PathError{Op: "read", Path: p, Err: errors.New("not all may read it")}
	}
	if err != nil {
		return nil, err
	}
	return h.open(p)
}

// text is for files of the version managers, which need not be readable for all; one that cannot be read is empty.
func (h host) text(p string) string {
	data, _ := h.open(p)
	return string(data)
}

func (h host) open(p string) ([]byte, error) {
	real, _, info, err := h.resolve(p)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, &os.PathError{Op: "read", Path: p, Err: errors.New("not a small file")}
	}
	f, err := os.OpenFile(h.root+real, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}
