package spawner

import (
	"errors"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/rawclone"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/wire"
)

// maxPlaced bounds the memory of a sandbox's files that is not charged to it.
const maxPlaced = 1 << 20

var pageSize = int64(os.Getpagesize())

// place makes files in the workspace of a sandbox in which no command was started yet, as most files are made that a
// recipe stages. Then nobody is there to be in the way, and a process inside would cost as much as the command itself. The
// memory of the files, which is at most maxPlaced, counts as the spawner's. It returns false where it is not for that; what
// mounts bring into a workspace is others'.
func (b *box) place(req wire.Send) (placed bool, err error) {
	if absolute(req.Dir) != sandbox.Workspace || len(b.spec.Local.Mounts) > 0 {
		return false, nil
	}
	var pages int64
	for _, e := range req.Entries {
		if e.Kind != wire.File || hasNUL(e.Name) {
			return false, nil
		}
		pages += 1 + e.Size/pageSize + int64(strings.Count(e.Name, "/")) // also for the file itself and its folders
	}
	b.mu.Lock() // as a command that is to be started does first
	defer b.mu.Unlock()
	if b.used || b.released || (b.placed+pages)*pageSize > maxPlaced {
		return false, nil
	}
	b.placed += pages
	content := req.Content
	for _, e := range req.Entries {
		n := min(e.Size, int64(len(content)))
		if err := b.placeFile(e, content[:n]); err != nil {
			return true, err
		}
		content = content[n:]
	}
	return true, nil
}

func (b *box) placeFile(e wire.Entry, content []byte) error {
	fail := func(name string, err error) error {
		if errno, ok := errors.AsType[unix.Errno](err); ok {
			return &rawclone.Error{Name: name, Errno: errno}
		}
		return err
	}
	parent, base := path.Split(e.Name)
	dir, err := b.placeFolder(path.Clean(parent))
	if err != nil {
		return fail(path.Clean(parent), err)
	}
	defer unix.Close(dir)
	if err := unix.Unlinkat(dir, base, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return fail(e.Name, err)
	}
	fd, err := unix.Openat(dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fail(e.Name, err)
	}
	defer unix.Close(fd)
	for len(content) > 0 && err == nil {
		var n int
		if n, err = unix.Write(fd, content); errors.Is(err, unix.EINTR) {
			err = nil
		}
		content = content[max(n, 0):]
	}
	if err == nil {
		err = unix.Fchown(fd, b.slot.uid, b.slot.gid)
	}
	if err == nil {
		err = unix.Fchmod(fd, e.Mode)
	}
	return fail(e.Name, err)
}

// placeFolder opens a folder of the workspace, which it makes if need be. It takes each step from the folder before: there
// may be symlinks, which lead the spawner to the files of the host.
func (b *box) placeFolder(name string) (dir int, err error) {
	if dir, err = unix.Openat2(b.disk, ".", &inside); err != nil {
		return -1, err
	}
	if name == "." {
		return dir, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		next := -1
		err = unix.Mkdirat(dir, part, 0o755)
		if err == nil {
			err = unix.Fchownat(dir, part, b.slot.uid, b.slot.gid, unix.AT_SYMLINK_NOFOLLOW)
		}
		if err == nil || err == unix.EEXIST {
			next, err = unix.Openat2(dir, part, &inside)
		}
		unix.Close(dir)
		if err != nil {
			return -1, err
		}
		dir = next
	}
	return dir, nil
}

// contentFile returns a file in memory, to be read from its beginning.
func contentFile(content []byte) (fd int, err error) {
	if fd, err = unix.MemfdCreate("files", unix.MFD_CLOEXEC); err != nil {
		return -1, err
	}
	for n := 0; n < len(content) && err == nil; {
		var m int
		if m, err = unix.Pwrite(fd, content[n:], int64(n)); err == nil {
			n += m
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
