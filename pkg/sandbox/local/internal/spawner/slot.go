package spawner

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/rawclone"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/userns"
)

// The ids of root's sandboxes on the host: beyond those that systemd-nspawn and subordinate id files use, and below
// what is reserved as negative in signed arithmetic. A run takes a block of them by a lock on a file, so that no two
// sandboxes of the machine share an id.
const (
	firstID   = 0x70000000
	blockSize = 1024
	blocks    = 4096
)

// slots hands out user ids. A slot is used by one sandbox at a time and used again afterwards, together with its user
// namespaces, which are slow to make.
type slots struct {
	privileged bool
	dir        string

	mu      sync.Mutex
	free    []*slot
	taken   int
	tried   bool
	refused error // why root cannot make user namespaces; its sandboxes do without, by their ids alone
	block   int
	lock    *os.File
}

// slot is a user id of the host. uid is as the spawner numbers it.
type slot struct {
	uid, gid int
	refused  error // as of slots
	mu       sync.Mutex
	spaces   map[ids]int // user namespaces of sandboxes, by what they call the slot's ids
	idmaps   map[ids]int // user namespaces for id-mapped mounts, by who appears as the slot's user
}

type ids struct{ uid, gid int }

func (s *slots) get() (*slot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		sl := s.free[n-1]
		s.free = s.free[:n-1]
		return sl, nil
	}
	sl := &slot{spaces: map[ids]int{}, idmaps: map[ids]int{}}
	if s.privileged {
		if s.lock == nil {
			if err := s.takeBlock(); err != nil {
				return nil, err
			}
		}
		if s.taken == blockSize {
			return nil, fmt.Errorf("more than %d sandboxes at a time", blockSize)
		}
		sl.uid = firstID + s.block*blockSize + s.taken
		sl.gid = sl.uid
		if !s.tried {
			s.tried = true
			s.refused = refusal()
		}
		sl.refused = s.refused
	}
	s.taken++
	return sl, nil
}

// refusal says why this root may not make user namespaces, or nil: one in a container may be kept from it though it may
// mount, and a machine may have them turned off.
func refusal() error {
	fd, err := newUserNamespace([][3]int{{0, 0, 1}}, [][3]int{{0, 0, 1}})
	if err == nil {
		unix.Close(fd)
	}
	for _, no := range []error{unix.EPERM, unix.EACCES, unix.ENOSPC, unix.EUSERS, unix.EINVAL, unix.ENOSYS} {
		if errors.Is(err, no) {
			return err
		}
	}
	return nil // what else went wrong is told where it matters
}

func (s *slots) put(sl *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, sl)
}

func (s *slots) takeBlock() error {
	for i := range blocks {
		f, err := os.OpenFile(filepath.Join(s.dir, fmt.Sprintf("ids-%d.lock", i)), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return fmt.Errorf("user ids: %w", err)
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			s.lock, s.block = f, i
			return nil
		}
		f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("user ids: lock %s: %w", f.Name(), err)
		}
	}
	return errors.New("user ids: every block of ids is in use by another run")
}

func (s *slots) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock != nil {
		s.lock.Close() // the file stays: removing it would let two runs lock two files of one name
	}
}

// needs refuses what cannot be without user namespaces where there are none.
func (sl *slot) needs(spec sandbox.Spec) error {
	if sl.refused == nil {
		return nil
	}
	what := ""
	if spec.Local.Rootfs != "" {
		what = "a rootfs folder"
	}
	for _, m := range spec.Local.Mounts {
		if m.Writable {
			what = "a writable mount"
		}
	}
	if what == "" {
		return nil
	}
	return kinded(sandbox.KindUnsupported, "%s needs user namespaces, so that its files are the sandbox's: %w",
		what, userns.Explain(userns.StepClone, sl.refused))
}

// space returns a user namespace in which the slot's ids are called inside; -1 where there are none.
func (sl *slot) space(inside ids) (fd int, err error) {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.refused != nil {
		return -1, nil
	}
	if fd, ok := sl.spaces[inside]; ok {
		return fd, nil
	}
	if fd, err = newUserNamespace([][3]int{{inside.uid, sl.uid, 1}}, [][3]int{{inside.gid, sl.gid, 1}}); err == nil {
		sl.spaces[inside] = fd
	}
	return fd, err
}

// idmap returns a user namespace for mounts in which the slot's user takes the place of owner. Others keep their ids:
// nobody, not even root, could do anything with files of users that are not in the map.
func (sl *slot) idmap(owner ids) (fd int, err error) {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if fd, ok := sl.idmaps[owner]; ok {
		return fd, nil
	}
	lines := func(owner, slot int) [][3]int {
		l := [][3]int{{owner, slot, 1}}
		if owner > 0 {
			l = append(l, [3]int{0, 0, owner})
		}
		if owner+1 < firstID {
			l = append(l, [3]int{owner + 1, owner + 1, firstID - owner - 1})
		}
		return l
	}
	if fd, err = newUserNamespace(lines(owner.uid, sl.uid), lines(owner.gid, sl.gid)); err == nil {
		sl.idmaps[owner] = fd
	}
	return fd, err
}

// newUserNamespace makes a user namespace with these maps, of lines of the first id inside, outside, and how many. It
// stays as long as the descriptor.
func newUserNamespace(uids, gids [][3]int) (fd int, err error) {
	var pp [2]int
	if err := unix.Pipe2(pp[:], unix.O_CLOEXEC); err != nil {
		return -1, err
	}
	defer unix.Close(pp[0])
	defer unix.Close(pp[1])
	var p rawclone.Program
	p.Call("close", unix.SYS_CLOSE, pp[1])
	// An ordinary user's sandboxes are all of one user, of whom so many are counted: most of them are for the others.
	for _, name := range []string{"instances", "watches"} {
		text, _ := os.ReadFile("/proc/sys/fs/inotify/max_user_" + name)
		most, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			continue // a kernel that has none
		}
		share := strconv.FormatInt(most/4, 10)
		p.Call("limit inotify", unix.SYS_OPENAT, unix.AT_FDCWD, "/proc/sys/user/max_inotify_"+name, unix.O_WRONLY|unix.O_CLOEXEC, 0).Save(regA).Ignore()
		p.Call("limit inotify", unix.SYS_WRITE, regA, share, len(share)).Ignore()
	}
	p.Report()
	p.Hold(pp[0])
	c, err := p.Start(unix.CLONE_NEWUSER)
	if err != nil {
		return -1, fmt.Errorf("user namespace: %w", err)
	}
	defer func() {
		unix.Kill(c.PID, unix.SIGKILL)
		_, _ = rawclone.Wait(c.PID, nil)
		c.Close()
	}()
	dir := fmt.Sprintf("/proc/%d/", c.PID)
	for file, lines := range map[string][][3]int{"uid_map": uids, "gid_map": gids} {
		var text []byte
		for _, l := range lines {
			text = fmt.Appendf(text, "%d %d %d\n", l[0], l[1], l[2])
		}
		if err := os.WriteFile(dir+file, text, 0); err != nil {
			return -1, fmt.Errorf("user namespace: %w", err)
		}
	}
	fd, err = unix.Open(dir+"ns/user", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("user namespace: %w", err)
	}
	return fd, nil
}
