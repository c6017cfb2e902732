package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Kill sends SIGKILL to every process in the group, once. It does not wait for them to be gone; Remove does.
func (g *Group) Kill() error {
	if g.v2 && len(g.dirs) == 1 {
		err := write(g.dirs[0], "cgroup.kill", "1") // since Linux 5.14
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	// No fork succeeds from here on, so that no child escapes between being listed and being killed.
	if err := g.SetPIDs(0); optional(err) != nil {
		return err
	}
	for _, dir := range g.dirs {
		if err := killListed(dir); err != nil {
			return err
		}
	}
	return nil
}

// killListed kills until the list names nobody new. Where forks cannot be stopped a child may win a round.
func killListed(dir string) error {
	seen := map[int]bool{}
	for range 1000 {
		pids, err := procs(dir)
		if err != nil {
			return err
		}
		fresh := false
		for _, pid := range pids {
			if seen[pid] {
				continue
			}
			seen[pid], fresh = true, true
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("cgroup: kill %d in %s: %w", pid, dir, err)
			}
		}
		if !fresh {
			return nil
		}
	}
	return nil
}

// Remove kills what is left in the group, waits until it is gone and removes the group. It is safe to call twice. The
// error names what was still there when ctx ended.
func (g *Group) Remove(ctx context.Context) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := g.rmdir()
		if err == nil || !errors.Is(err, syscall.EBUSY) {
			return err
		}
		if kerr := g.Kill(); kerr != nil {
			return errors.Join(err, kerr)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case <-time.After(wait):
		}
	}
}

// rmdir removes the group's folders, and those below that somebody who was given the group may have made.
func (g *Group) rmdir() error {
	g.close()
	var errs []error
	for _, dir := range g.dirs {
		errs = append(errs, rmtree(dir))
	}
	return errors.Join(errs...)
}

func rmtree(dir string) error {
	err := syscall.Rmdir(dir)
	if err == nil || errors.Is(err, syscall.ENOENT) {
		return nil
	}
	if errors.Is(err, syscall.EBUSY) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if e.IsDir() {
				if err := rmtree(filepath.Join(dir, e.Name())); err != nil {
					return err
				}
			}
		}
		if err = syscall.Rmdir(dir); err == nil {
			return nil
		}
	}
	return &fs.PathError{Op: "cgroup: remove", Path: dir, Err: err}
}
