package spawner

import (
	"errors"
	"fmt"
	"path"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/rawclone"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/wire"
)

// inside resolves the path of an entry: under the folder that was asked for, and through no symlink.
var inside = unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}

// send makes files in a sandbox. Unless place can, it is done by a process inside, as the sandbox's user and in its
// control group: no path can lead out, and what is written counts against the sandbox's limits.
//
// Others of the same user can stop that process; a Signal for seq ends it.
func (s *server) send(seq uint64, req wire.Send, files []int) error {
	defer s.started(seq)
	b, err := s.find(req.ID)
	if err != nil {
		return err
	}
	defer b.users.Done()
	if len(files) == 0 {
		if placed, err := b.place(req); placed {
			return b.sendError(err)
		}
		content, err := contentFile(req.Content)
		if err != nil {
			return err
		}
		defer unix.Close(content)
		files = []int{content}
	}
	if len(files) != 1 {
		return fmt.Errorf("send came with %d files", len(files))
	}
	var p rawclone.Program
	defer p.Free()
	b.enter(&p)
	st := &step{mark: b.newMark()}
	b.limits(&p, st)
	b.becomeNobody(&p)
	p.Call("contents", unix.SYS_DUP3, files[0], 0, 0)
	p.CloseFrom(1)
	dir := absolute(req.Dir)
	at := unix.AT_FDCWD
	made := map[string]bool{}
	for d := range parents(dir + "/x") {
		p.Call(d, unix.SYS_MKDIRAT, at, d, 0o755).Allow(unix.EEXIST, unix.EROFS)
	}
	p.Call(dir, unix.SYS_OPENAT, at, dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).Save(regBase)
	for _, e := range req.Entries {
		name := e.Name
		if hasNUL(name, e.Link) {
			return kinded(sandbox.KindInvalid, "%q: not a name", name)
		}
		parent, base := path.Split(name)
		if parent = path.Clean(parent); !made[parent] {
			for d := range parents("/" + name) {
				if d = d[1:]; !made[d] {
					p.Call(d, unix.SYS_MKDIRAT, regBase, d, 0o755).Allow(unix.EEXIST)
					made[d] = true
				}
			}
			made[parent] = true
		}
		p.Call(parent, unix.SYS_OPENAT2, regBase, parent, rawclone.Bytes(&inside), unsafe.Sizeof(inside)).Save(regDir)
		switch e.Kind {
		case wire.Folder:
			p.Call(name, unix.SYS_MKDIRAT, regDir, base, 0o700|e.Mode).Allow(unix.EEXIST)
			p.Call(name, unix.SYS_OPENAT2, regBase, name, rawclone.Bytes(&inside), unsafe.Sizeof(inside)).Save(regA)
			p.Call(name, unix.SYS_CLOSE, regA)
			made[name] = true
		case wire.Chmod:
			p.Call(name, unix.SYS_FCHMODAT, regDir, base, e.Mode)
		case wire.Symlink:
			p.Call(name, unix.SYS_UNLINKAT, regDir, base, 0).Allow(unix.ENOENT)
			p.Call(name, unix.SYS_SYMLINKAT, e.Link, regDir, base)
		case wire.Hardlink:
			lp, lb := path.Split(e.Link)
			p.Call(e.Link, unix.SYS_OPENAT2, regBase, path.Clean(lp), rawclone.Bytes(&inside), unsafe.Sizeof(inside)).Save(regA)
			p.Call(name, unix.SYS_UNLINKAT, regDir, base, 0).Allow(unix.ENOENT)
			p.Call(name, unix.SYS_LINKAT, regA, lb, regDir, base, 0)
			p.Call(name, unix.SYS_CLOSE, regA)
		case wire.File:
			p.Call(name, unix.SYS_UNLINKAT, regDir, base, 0).Allow(unix.ENOENT)
			p.Call(name, unix.SYS_OPENAT, regDir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600).Save(regA)
			if e.Size > 0 {
				p.Copy(name, 0, regA, e.Size)
			}
			p.Call(name, unix.SYS_FCHMOD, regA, e.Mode)
			p.Call(name, unix.SYS_CLOSE, regA)
		}
		p.Call(name, unix.SYS_CLOSE, regDir)
	}
	p.Exit(0)
	c, err := p.StartIn(b.pidfd)
	if err == nil {
		defer c.Close()
		st.pid = c.PID
		b.mu.Lock()
		b.steps[seq], b.bySeq[seq] = st, st.mark
		b.mu.Unlock()
		s.started(seq)
		var ws unix.WaitStatus
		if ws, err = rawclone.Wait(c.PID, nil); err == nil {
			err = c.Failure()
		}
		b.mu.Lock()
		delete(b.steps, seq)
		b.mu.Unlock()
		if err == nil && ws != 0 {
			err = kinded(sandbox.KindInvalid, "the process that makes the files was killed from inside the sandbox")
		}
	}
	return b.sendError(err)
}

const (
	regBase rawclone.Reg = iota + 3
	regDir
)

func (b *box) sendError(err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*rawclone.Error](err)
	if cannotEnter(err) {
		b.awaitEnd()
	}
	switch {
	case b.isReleased():
		return kinded(sandbox.KindReleased, "the sandbox was released")
	case b.died():
		return kinded(sandbox.KindLost, "the sandbox has died")
	case !ok || e.Name == callEnter || e.Errno == unix.EPIPE:
		return err
	case e.Errno == unix.ENOSPC:
		return kinded(sandbox.KindNoSpace, "%s: the sandbox's disk is full: %w", e.Name, e.Errno)
	case e.Errno == unix.ELOOP:
		return kinded(sandbox.KindInvalid, "%s: a symlink is in the way", e.Name)
	}
	return kinded(sandbox.KindInvalid, "%w", err)
}

// open opens a file that the caller may not open by itself.
func (s *server) open(req wire.Open) ([]int, error) {
	b, err := s.find(req.ID)
	if err != nil {
		return nil, err
	}
	defer b.users.Done()
	flags := uint64(unix.O_RDONLY | unix.O_NONBLOCK)
	if req.Look {
		flags = unix.O_PATH
	}
	fd, err := unix.Openat2(b.root, req.Path, &unix.OpenHow{
		Flags:   flags | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return nil, kinded(sandbox.KindInvalid, "%s: %w", req.Path, err)
	}
	return []int{fd}, nil
}
