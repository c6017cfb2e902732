package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/cgroup"
)

// GC removes what runs of this user left that were killed together with the process that cleans up after them: control
// groups, and what ran without isolation. Mounts, networks and files of other sandboxes go with their processes. It
// returns one line for each thing removed. What belongs to a run that lives, or that this machine's state folder knows
// nothing of (a container's, whose control groups can be seen from here), is left alone.
func GC(ctx context.Context) (removed []string, err error) {
	state, err := stateDir()
	if err != nil {
		return nil, err
	}
	dead, err := deadRuns(state)
	defer func() {
		for _, f := range dead {
			f.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	runs, sweepErr := cgroup.SweepAll(ctx, func(run string) bool { return dead[run] == nil })
	for _, run := range runs {
		removed = append(removed, "control groups of run "+run)
	}
	errs := []error{sweepErr}
	for run, f := range dead {
		lines, err := collectBare(run, f)
		removed = append(removed, lines...)
		if err != nil || sweepErr != nil { // for the next time
			errs = append(errs, err)
			continue
		}
		if err := os.Remove(f.Name()); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, "record of run "+run)
	}
	return removed, errors.Join(errs...)
}

// deadRuns returns the locks of runs that no process holds. They are held now, so that nobody else clears up as well.
func deadRuns(state string) (dead map[string]*os.File, err error) {
	dead = map[string]*os.File{}
	names, err := filepath.Glob(runLock(state, "*"))
	if err != nil {
		return dead, err
	}
	for _, name := range names {
		f, err := os.Open(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return dead, err
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			f.Close()
			continue
		}
		run := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), "run-"), ".lock")
		dead[run] = f
	}
	return dead, nil
}

// collectBare ends the processes of a run's bare sandboxes and removes their folder.
func collectBare(run string, f *os.File) (removed []string, err error) {
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	r := readBareRecord(data)
	if r == nil {
		return nil, nil
	}
	if n := signalMarked(r.owns, 0); n > 0 {
		if signalMarked(r.owns, unix.SIGKILL) > 0 {
			return nil, fmt.Errorf("processes of run %s cannot be ended", run)
		}
		removed = append(removed, fmt.Sprintf("%d processes of run %s", n, run))
	}
	if _, err := os.Lstat(r.Folder); err == nil {
		if err := removeAll(r.Folder); err != nil {
			return removed, err
		}
		removed = append(removed, "folder "+r.Folder)
	}
	return removed, nil
}
