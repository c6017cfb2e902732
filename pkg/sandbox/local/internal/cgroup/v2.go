package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// selfLeaf is the group that the processes of a base are moved to, so that the base may have limited children.
const selfLeaf = prefix + "self"

// needed are the v2 controllers without which a place is no place; cpu is welcome.
var needed = []string{"memory", "pids"}

// useV2 takes the nearest of the process's own group and its ancestors that may be written and is there to be divided:
// delegated by systemd, divided by an earlier run, or the top of what is visible (a container's own group, or the root).
func (m *Manager) useV2(h hierarchy) error {
	var errs []error
	for dir := h.own; ; dir = filepath.Dir(dir) {
		top := dir == h.mount || len(dir) <= len(h.mount)
		err := m.tryV2(h, dir, top)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
		if top {
			return errors.Join(errs...)
		}
	}
}

// tryV2 takes dir if it is fit. ours says that it is there to be divided, whatever marks it has.
func (m *Manager) tryV2(h hierarchy, dir string, ours bool) error {
	divided := filepath.Base(h.own) == selfLeaf && filepath.Dir(h.own) == dir
	switch {
	case strings.HasPrefix(filepath.Base(dir), "user@"):
		return fmt.Errorf("%s is the user's systemd's", dir)
	case !ours && !divided && !delegated(dir):
		return fmt.Errorf("%s is not delegated", dir)
	}
	if err := writable(dir); err != nil {
		return err
	}
	have := words(dir, "cgroup.controllers")
	for _, c := range needed {
		if !slices.Contains(have, c) {
			return fmt.Errorf("%s has no %s controller", dir, c)
		}
	}
	hold, err := lock(dir, unix.LOCK_SH)
	if err != nil {
		return err
	}
	if divided {
		m.Self = h.own
	}
	enabled, err := m.divide(dir, have, dir == h.own)
	if err != nil {
		hold.Close()
		return err
	}
	m.Mode, m.hold, m.Memory, m.PIDs, m.CPU, m.Reason = ModeV2, hold, dir, dir, dir, ""
	if !slices.Contains(enabled, "cpu") {
		m.CPU, m.Reason = "", fmt.Sprintf("%s has no cpu controller", dir)
	}
	return nil
}

// delegated says whether systemd marked the group as given away, which it does for Delegate=yes.
func delegated(dir string) bool {
	var b [8]byte
	for _, attr := range []string{"user.delegate", "trusted.delegate"} {
		if n, err := unix.Getxattr(dir, attr, b[:]); err == nil && string(b[:n]) == "1" {
			return true
		}
	}
	return false
}

// divide enables the controllers for dir's children and returns those that are. The kernel refuses that while dir has
// processes of its own, unless it is the root; where it is the caller's own group they are moved to a leaf first.
func (m *Manager) divide(dir string, have []string, own bool) ([]string, error) {
	for _, c := range append(slices.Clone(needed), "cpu") {
		if !slices.Contains(have, c) || slices.Contains(words(dir, "cgroup.subtree_control"), c) {
			continue
		}
		err := write(dir, "cgroup.subtree_control", "+"+c)
		if errors.Is(err, syscall.EBUSY) && own && m.Self == "" {
			m.Self = filepath.Join(dir, selfLeaf)
			if err = move(dir, m.Self); err == nil {
				err = write(dir, "cgroup.subtree_control", "+"+c)
			}
		}
		if err != nil && slices.Contains(needed, c) {
			return nil, errors.Join(err, m.undivide(dir))
		}
	}
	return words(dir, "cgroup.subtree_control"), nil
}

// move brings all processes of one group into another, which it makes.
func move(from, to string) error {
	if err := os.Mkdir(to, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("cgroup: make: %w", err)
	}
	for range 1000 { // a fork may win a round, never a thousand
		pids, err := procs(from)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := write(to, "cgroup.procs", strconv.Itoa(pid)); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
	}
	return fmt.Errorf("cgroup: processes keep appearing in %s", from)
}

// Close undoes what Detect moved, if no other run uses the place. Groups that still exist keep it from doing so.
func (m *Manager) Close() error {
	if m.hold == nil {
		return nil
	}
	defer func() { m.hold = nil }()
	defer m.hold.Close()
	if m.Self == "" || unix.Flock(int(m.hold.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil
	}
	return m.undivide(m.Memory)
}

// undivide brings dir back to how divide found it.
func (m *Manager) undivide(dir string) error {
	if m.Self == "" {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	for _, e := range entries {
		if _, group := runOf(e.Name()); group && e.IsDir() {
			return nil
		}
	}
	for _, c := range words(dir, "cgroup.subtree_control") {
		if err := write(dir, "cgroup.subtree_control", "-"+c); err != nil {
			return err
		}
	}
	if err := move(m.Self, dir); err != nil {
		return err
	}
	err = rmtree(m.Self)
	m.Self = ""
	return err
}

// words reads a file of words; a file that cannot be read has none.
func words(dir, file string) []string {
	data, _ := os.ReadFile(filepath.Join(dir, file))
	return strings.Fields(string(data))
}

// lock opens dir and locks it. The lock ends with the file, so with the process.
func lock(dir string, how int) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("cgroup: lock %s: %w", dir, err)
		}
	}
}
