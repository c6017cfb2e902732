package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/cgroup"
)

// GC removes what runs of this user left that were killed together with the process that cleans up after them: control
// groups and locks. Mounts, networks and files of a sandbox go with its processes, and those with the run. It returns one
// line for each thing removed, and leaves alone what belongs to a run that lives.
func GC(ctx context.Context) (removed []string, err error) {
	state, err := stateDir()
	if err != nil {
		return nil, err
	}
	alive := func(run string) bool { return locked(runLock(state, run)) }
	var errs []error
	runs, err := cgroup.SweepAll(ctx, alive)
	errs = append(errs, err)
	for _, run := range runs {
		removed = append(removed, fmt.Sprintf("control groups of run %s", run))
	}
	locks, err := filepath.Glob(filepath.Join(state, "run-*.lock"))
	errs = append(errs, err)
	for _, name := range locks {
		run := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), "run-"), ".lock")
		gone, err := removeLock(name)
		errs = append(errs, err)
		if gone {
			removed = append(removed, fmt.Sprintf("lock of run %s", run))
		}
	}
	return removed, errors.Join(errs...)
}

// locked says whether a process holds the lock.
func locked(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return !errors.Is(err, os.ErrNotExist) // what cannot be read is not ours to judge
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
}

// removeLock removes a lock that nobody holds. It is held meanwhile, so that no run takes it in between.
func removeLock(name string) (bool, error) {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return false, nil
	}
	return true, os.Remove(name)
}
