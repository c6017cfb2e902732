package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Options of Detect.
type Options struct {
	// RunID is the run's id: [a-z0-9-].
	RunID string
	// PID is the process that will put others into groups; it may be moved, together with others of its group, into
	// a leaf of its group, or into a scope of systemd. Zero: this process.
	PID int
	// Scope starts a systemd scope of that name, whose group is delegated to this user, and puts the process into it. nil:
	// there is no systemd to ask.
	Scope func(ctx context.Context, name string, pid int) error
}

// Detect looks for a place for groups: a v2 hierarchy with memory and pids that may be written, else the v1 hierarchies,
// else a scope that the user's systemd delegates. It never fails: where there is no place Mode is ModeNone and Reason
// says why.
func Detect(ctx context.Context, o Options) *Manager {
	if o.PID == 0 {
		o.PID = os.Getpid()
	}
	m := &Manager{Mode: ModeNone, Run: o.RunID}
	v2, v1, err := hierarchies(o.PID)
	if err != nil {
		m.Reason = err.Error()
		return m
	}
	v2err := errors.New("not mounted")
	if v2 != nil {
		if v2err = m.useV2(*v2); v2err == nil {
			return m
		}
	}
	v1err := m.useV1(v1)
	if v1err == nil {
		return m
	}
	sderr := m.useSystemd(ctx, v2, o)
	if sderr == nil {
		return m
	}
	m.Reason = fmt.Sprintf("no control group can be written (v2: %v; v1: %v; systemd: %v)", v2err, v1err, sderr)
	return m
}

// useV1 takes the process's own group in the hierarchy of each controller that may be written.
func (m *Manager) useV1(all map[string]hierarchy) error {
	var missing []string
	for _, c := range []struct {
		name string
		base *string
	}{{"memory", &m.Memory}, {"pids", &m.PIDs}, {"cpu", &m.CPU}} {
		h, ok := all[c.name]
		if !ok {
			missing = append(missing, c.name+" is not mounted")
		} else if err := writable(h.own); err != nil {
			missing = append(missing, c.name+": "+err.Error())
		} else {
			*c.base = h.own
		}
	}
	why := strings.Join(missing, ", ")
	if m.Memory == "" && m.PIDs == "" {
		m.CPU = ""
		return errors.New(why)
	}
	m.Mode = ModeV1
	m.Reason = why
	return nil
}

// writable says whether this process may make groups in dir and move processes to and fro.
func writable(dir string) error {
	for _, p := range []string{dir, filepath.Join(dir, "cgroup.procs")} {
		if err := unix.Faccessat(unix.AT_FDCWD, p, unix.W_OK, unix.AT_EACCESS); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// useSystemd divides the group of a scope of systemd's.
func (m *Manager) useSystemd(ctx context.Context, v2 *hierarchy, o Options) error {
	if o.Scope == nil {
		return errors.New("not asked")
	}
	if v2 == nil {
		return errors.New("needs the v2 hierarchy")
	}
	if err := o.Scope(ctx, prefix+o.RunID+".scope", o.PID); err != nil {
		return err
	}
	h, _, err := hierarchies(o.PID)
	if err != nil || h == nil {
		return errors.Join(errors.New("the scope's group cannot be seen"), err)
	}
	return m.tryV2(*h, h.own, true) // not every version of systemd marks what it delegates
}
