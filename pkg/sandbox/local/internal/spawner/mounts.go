package spawner

import (
	"fmt"
	"path"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/rawclone"
)

// give makes the sandbox's user the owner of a folder.
func (b *box) give(p *rawclone.Program, name string) {
	p.Call("give "+name, unix.SYS_FCHOWNAT, unix.AT_FDCWD, name, b.slot.uid, b.slot.gid, unix.AT_SYMLINK_NOFOLLOW).Allow(unix.EROFS)
}

// overlay mounts the sandbox's copy of a folder at root.
func (b *box) overlay(p *rawclone.Program, disk, root string) error {
	for _, d := range []string{"upper", "work"} {
		p.Call("make the overlay", unix.SYS_MKDIRAT, unix.AT_FDCWD, disk+d, 0o755)
		b.give(p, disk+d)
	}
	lower := make([]string, 0, len(b.shape.layers))
	for _, l := range b.shape.layers {
		if b.shape.owner == nil {
			lower = append(lower, stash+l)
			continue
		}
		at := stash + l + "-mapped"
		if err := b.mapped(p, stash+l, at, *b.shape.owner); err != nil {
			return err
		}
		lower = append(lower, at)
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%supper,workdir=%swork", strings.Join(lower, ":"), disk, disk)
	if b.server.slots.privileged {
		options += ",metacopy=on"
	} else {
		options += ",userxattr"
	}
	p.Call("mount the overlay", unix.SYS_MOUNT, "overlay", root, "overlay", mountFlags, options)
	for _, d := range []string{"/dev", "/proc"} {
		p.Call("make "+d, unix.SYS_MKDIRAT, unix.AT_FDCWD, root+d, 0o755).Allow(unix.EEXIST)
	}
	p.Call("mount /dev", unix.SYS_MOUNT, "/dev", root+"/dev", "", unix.MS_BIND|unix.MS_REC, 0)
	return nil
}

// late mounts something from the stash.
func (b *box) late(p *rawclone.Program, l late, root string) error {
	if !l.there {
		b.makeRoom(p, l, root)
	}
	if l.owner == nil || b.slot.refused != nil { // not mapped, what only its owner may read stays unreadable
		p.Call("mount "+l.target, unix.SYS_MOUNT, l.source, root+l.target, "", unix.MS_BIND|unix.MS_REC, 0)
		return nil
	}
	return b.mapped(p, l.source, root+l.target, *l.owner)
}

// makeRoom makes what something is mounted on, if it is not there.
func (b *box) makeRoom(p *rawclone.Program, l late, root string) {
	at := unix.AT_FDCWD
	for dir := range parents(l.target) {
		p.Call("make "+dir, unix.SYS_MKDIRAT, at, root+dir, 0o755).Allow(unix.EEXIST, unix.EROFS)
		b.give(p, root+dir)
	}
	if l.file {
		p.Call("make "+l.target, unix.SYS_OPENAT, at, root+l.target, unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644).Allow(unix.EROFS, unix.EACCES)
	} else {
		p.Call("make "+l.target, unix.SYS_MKDIRAT, at, root+l.target, 0o755).Allow(unix.EEXIST, unix.EROFS)
	}
}

// mapped mounts something with the sandbox's user in the place of owner.
func (b *box) mapped(p *rawclone.Program, source, target string, owner ids) error {
	space, err := b.slot.idmap(owner)
	if err != nil {
		return err
	}
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(space)}
	p.Call("mount "+target, unix.SYS_OPEN_TREE, unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC).Save(regA)
	p.Call("mount "+target+" with the sandbox's user as its owner", unix.SYS_MOUNT_SETATTR, regA, "", unix.AT_EMPTY_PATH, rawclone.Bytes(attr), unsafe.Sizeof(*attr))
	p.Call("mount "+target, unix.SYS_MOVE_MOUNT, regA, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
	return nil
}

// parents yields the folders above p, from the top, without the root.
func parents(p string) func(func(string) bool) {
	return func(yield func(string) bool) {
		var dir strings.Builder
		for part := range strings.SplitSeq(strings.Trim(path.Dir(p), "/"), "/") {
			if part == "" {
				return
			}
			dir.WriteString("/" + part)
			if !yield(dir.String()) {
				return
			}
		}
	}
}
