package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Sweep kills and removes the groups in the Manager's place whose runs alive does not vouch for, and returns those
// runs' ids.
func (m *Manager) Sweep(ctx context.Context, alive func(run string) bool) ([]string, error) {
	return sweep(ctx, m.Mode == ModeV2, []string{m.Memory, m.PIDs, m.CPU}, alive)
}

// SweepAll does so in every hierarchy that is mounted, wherever in it the groups are: a run that was killed may have
// had its place elsewhere than this process. What this user may not touch is left alone.
func SweepAll(ctx context.Context, alive func(run string) bool) ([]string, error) {
	v2, v1, err := hierarchies(0)
	if err != nil {
		return nil, err
	}
	var runs []string
	var errs []error
	if v2 != nil {
		r, err := sweep(ctx, true, holders(v2.mount), alive)
		runs, errs = r, append(errs, err)
	}
	var parents []string
	for _, c := range []string{"memory", "pids", "cpu"} {
		if h, ok := v1[c]; ok {
			parents = append(parents, holders(h.mount)...)
		}
	}
	r, err := sweep(ctx, false, parents, alive)
	runs = append(runs, r...)
	slices.Sort(runs)
	return slices.Compact(runs), errors.Join(append(errs, err)...)
}

// holders returns the folders below top that hold groups of sbxrun and may be written.
func holders(top string) (dirs []string) {
	_ = filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // gone meanwhile, or not ours to see
		}
		if _, ours := runOf(d.Name()); !ours {
			return nil
		}
		if dir := filepath.Dir(p); !slices.Contains(dirs, dir) && writable(dir) == nil {
			dirs = append(dirs, dir)
		}
		return fs.SkipDir
	})
	return dirs
}

// sweep removes groups by name: on v1 the same one may lie in several folders.
func sweep(ctx context.Context, v2 bool, parents []string, alive func(run string) bool) ([]string, error) {
	groups := map[string]*Group{}
	for _, parent := range parents {
		if parent == "" {
			continue
		}
		entries, err := os.ReadDir(parent)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("cgroup: sweep: %w", err)
		}
		for _, e := range entries {
			run, ok := runOf(e.Name())
			if !ok || !e.IsDir() || !mine(e) || alive(run) {
				continue
			}
			g := groups[e.Name()]
			if g == nil {
				g = &Group{v2: v2}
				groups[e.Name()] = g
			}
			dir := filepath.Join(parent, e.Name())
			if g.has(dir) {
				continue
			}
			g.dirs = append(g.dirs, dir)
			if _, err := os.Stat(filepath.Join(dir, "pids.max")); err == nil {
				g.pids = dir
			}
		}
	}
	var runs []string
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		if err := groups[name].Remove(ctx); err != nil {
			errs = append(errs, err)
			continue
		}
		if run, _ := runOf(name); !slices.Contains(runs, run) {
			runs = append(runs, run)
		}
	}
	return runs, errors.Join(errs...)
}

// mine says whether this user made a group. Root may remove those of others, but does not know which runs of theirs live.
func mine(e fs.DirEntry) bool {
	info, err := e.Info()
	if err != nil {
		return false // gone meanwhile
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// runOf returns the run's id in a group's name.
func runOf(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return "", false
	}
	run, _, ok := strings.Cut(rest, ".")
	return run, ok && run != ""
}
