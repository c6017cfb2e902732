package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stateDir returns the folder that all runs of this user share for their locks, made if need be. Nobody else can write
// to it, or what a run believes of others could be forged.
func stateDir() (string, error) {
	dir := "/run/sbxrun"
	if uid := os.Geteuid(); uid != 0 {
		dir = filepath.Join(os.TempDir(), "sbxrun-"+strconv.Itoa(uid))
		if x := os.Getenv("XDG_RUNTIME_DIR"); x != "" {
			if info, err := os.Stat(x); err == nil && info.IsDir() && owner(info) == uid {
				dir = filepath.Join(x, "sbxrun")
			}
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("state folder: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("state folder: %w", err)
	}
	if !info.IsDir() || owner(info) != os.Geteuid() || info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("state folder %s: want a folder of user %d with mode 0700; remove it", dir, os.Geteuid())
	}
	return dir, nil
}

func owner(info os.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

// runLock is the name of the file that a run holds a lock on while it lives.
func runLock(state, run string) string { return filepath.Join(state, "run-"+run+".lock") }

// own takes the lock of a run. The spawner inherits nothing of it: it ends by itself when this process does.
func own(state, run string) (*os.File, error) {
	name := runLock(state, run)
	var f *os.File
	var err error
	for range 50 { // gc holds the locks that it looks at for a moment, and removes the file of one that it gets
		if f, err = lock(name); !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, os.ErrNotExist) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("another run has the id %s", run)
	}
	if err != nil {
		return nil, fmt.Errorf("lock of the run, %s: %w", name, err)
	}
	return f, nil
}

// lock makes an empty file that is locked. The error is EWOULDBLOCK where another process holds it and ErrNotExist where
// another one removed it.
func lock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	var there, locked os.FileInfo
	if err == nil {
		there, err = os.Stat(name)
	}
	if err == nil {
		locked, err = f.Stat()
	}
	if err == nil && !os.SameFile(there, locked) {
		err = os.ErrNotExist
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// disown removes the lock of a run that is over.
func disown(f *os.File) error {
	err := os.Remove(f.Name())
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// isPrivileged says whether this process may mount.
func isPrivileged() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

// private returns the folders that no sandbox sees, without symbolic links: the state of all runs, where this run, and runs
// beside it, keep what happened, and where runs of the working directory do; and the links on the way to them.
func private(state, run, wd string) (folders, links []string) {
	const home = ".sbxrun"
	for dir := run; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if filepath.Base(dir) == home {
			run = dir
		}
	}
	for _, dir := range []string{state, run, filepath.Join(wd, home)} {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			continue // it is not there
		}
		if !slices.Contains(folders, real) {
			folders = append(folders, real)
		}
		for at := dir; at != filepath.Dir(at); at = filepath.Dir(at) {
			info, err := os.Lstat(at)
			if err != nil || info.Mode()&os.ModeSymlink == 0 {
				continue
			}
			if parent, err := filepath.EvalSymlinks(filepath.Dir(at)); err == nil {
				links = append(links, filepath.Join(parent, filepath.Base(at)))
			}
		}
	}
	return folders, links
}
