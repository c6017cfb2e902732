package fake

import (
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// on calls f with what p leads to.
func (v *vfs) on(p string, follow bool, f func(at place) error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	at, err := v.lookup(p, follow)
	if err != nil {
		return err
	}
	return f(at)
}

// existing is on for what has to be there.
func (v *vfs) existing(p string, follow bool, f func(at place) error) error {
	return v.on(p, follow, func(at place) error {
		if at.node == nil {
			return syscall.ENOENT
		}
		return f(at)
	})
}

func (v *vfs) stat(p string, follow bool) (i info, err error) {
	err = v.existing(p, follow, func(at place) error {
		i = at.node.info(path.Base(at.path))
		return nil
	})
	return i, err
}

func (v *vfs) access(p string, mode fs.FileMode) error {
	return v.existing(p, true, func(at place) error {
		if at.node.mode>>6&mode != mode {
			return syscall.EACCES
		}
		return nil
	})
}

func (v *vfs) readDir(p string) (list []fs.DirEntry, err error) {
	err = v.existing(p, true, func(at place) error {
		if !at.node.mode.IsDir() {
			return syscall.ENOTDIR
		}
		for name, kid := range at.node.kids {
			list = append(list, fs.FileInfoToDirEntry(kid.info(name)))
		}
		slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
		return nil
	})
	return list, err
}

// mkdir makes a directory; with parents also what leads to it, and it may be there already.
func (v *vfs) mkdir(p string, parents bool) error {
	if parents {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.mkdirAll(p)
	}
	return v.make(strings.TrimRight(p, "/"), fs.ModeDir|0o755, "")
}

// make makes anything that open does not: a directory, a symlink to link, a FIFO.
func (v *vfs) make(p string, mode fs.FileMode, link string) error {
	return v.on(p, false, func(at place) error {
		if at.node != nil {
			return syscall.EEXIST
		}
		n := newInode(mode)
		n.link = link
		return v.add(at, n)
	})
}

func (v *vfs) hardLink(from, to string) error {
	return v.existing(from, false, func(old place) error {
		at, err := v.lookup(to, false)
		switch {
		case err != nil:
			return err
		case at.node != nil:
			return syscall.EEXIST
		case old.node.mode.IsDir():
			return syscall.EPERM
		}
		old.node.names++
		at.dir.kids[at.name] = old.node
		return nil
	})
}

// remove takes a name away; all: directories with what is in them.
func (v *vfs) remove(p string, all bool) error {
	return v.existing(p, false, func(at place) error {
		switch {
		case at.node == v.root || at.name == ".":
			return syscall.EBUSY
		case at.node.mode.IsDir() && !all:
			return syscall.EISDIR
		case at.dir.mode&0o200 == 0:
			return syscall.EACCES
		}
		v.drop(at)
		return nil
	})
}

func (v *vfs) rename(from, to string) error {
	return v.existing(from, false, func(old place) error {
		at, err := v.lookup(to, false)
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(at.path+"/", old.path+"/"):
			return syscall.EINVAL
		case at.node != nil && at.node.mode.IsDir() != old.node.mode.IsDir():
			return syscall.EEXIST
		case at.node != nil:
			v.drop(at)
		}
		delete(old.dir.kids, old.name)
		at.dir.kids[at.name] = old.node
		return nil
	})
}

func (v *vfs) chmod(p string, change func(fs.FileMode) fs.FileMode) error {
	return v.existing(p, true, func(at place) error {
		at.node.mode = at.node.mode.Type() | change(at.node.mode.Perm())&fs.ModePerm
		return nil
	})
}

// addScript makes a file for a script and returns its path. It does not count: a full disk keeps no command from running.
func (v *vfs) addScript(content []byte) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.scripts++
	name := strconv.Itoa(v.scripts)
	n := newInode(0o555)
	n.data = content
	v.scriptDir.kids[name] = n
	return scriptDir + "/" + name
}

func (v *vfs) dropScript(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.scriptDir.kids, path.Base(name))
}
