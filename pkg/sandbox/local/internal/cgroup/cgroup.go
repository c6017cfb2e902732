// Package cgroup limits and counts what sandboxes use, by control groups of version 2 or 1, in whatever part of the
// hierarchy this process may write; it finds that part, and where there is none it offers the approximations that work
// without. Which limits a sandbox gets, and what a hit limit means for a command, is the caller's.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Mode says which control groups a Manager uses.
type Mode string

// The modes.
const (
	ModeV2   Mode = "v2"
	ModeV1   Mode = "v1"
	ModeNone Mode = "none"
)

// Limits of a group. Zero means no limit.
type Limits struct {
	CPU    int64 // thousandths of a core
	Memory int64 // bytes; swap is off, or counted with it
	PIDs   int64 // processes and threads
}

// Manager makes groups for one run. Its exported fields are plain data, so that the process that ran Detect can hand
// it to the process that makes the sandboxes, and gc can use what a killed run wrote down.
type Manager struct {
	Mode   Mode
	Reason string // why Mode is not better, or what is missing in it; empty where all controllers are there
	Run    string // the run's id, part of every group's name

	// The folders below which groups are made, empty where a controller cannot be used; on v2 they are the same.
	Memory, PIDs, CPU string

	// Self is the leaf that the processes of the base were moved to, because a v2 group with processes cannot have
	// limited children; empty where that was not needed.
	Self string

	hold *os.File // the shared lock on the base that Close upgrades
}

// prefix marks the groups that sbxrun makes: sbxrun-RUN.NAME. Run ids hold no dot.
const prefix = "sbxrun-"

// Enforces says whether the limit of a controller, "memory", "pids" or "cpu", is enforced by the kernel.
func (m *Manager) Enforces(controller string) bool {
	switch controller {
	case "memory":
		return m.Memory != ""
	case "pids":
		return m.PIDs != ""
	case "cpu":
		return m.CPU != ""
	}
	return false
}

// Create makes a group with limits. name is unique in the run and fit for a file name. Controllers that l does not
// limit are left out where that saves time, but memory and pids are always counted. The group of a Manager without
// control groups does nothing.
func (m *Manager) Create(name string, l Limits) (*Group, error) {
	if name == "" || strings.ContainsAny(name, "/\n\x00") {
		return nil, fmt.Errorf("cgroup: %q is not a name", name)
	}
	g := &Group{v2: m.Mode == ModeV2, limits: l}
	base := prefix + m.Run + "." + name
	for _, c := range []struct {
		parent string
		dir    *string
		want   bool
	}{
		{m.Memory, &g.memory, true},
		{m.PIDs, &g.pids, true},
		{m.CPU, &g.cpu, true},
	} {
		if c.parent == "" || !c.want {
			continue
		}
		dir := filepath.Join(c.parent, base)
		*c.dir = dir
		if g.has(dir) {
			continue
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, errors.Join(fmt.Errorf("cgroup: make: %w", err), g.rmdir())
		}
		g.dirs = append(g.dirs, dir)
	}
	if err := g.limit(l); err != nil {
		return nil, errors.Join(err, g.rmdir())
	}
	return g, nil
}

// Group is one control group, or one of each v1 hierarchy in use.
type Group struct {
	v2                bool
	dirs              []string // distinct folders, in the order they were made
	memory, pids, cpu string   // where a controller's files are, or empty
	limits            Limits
	changed           bool  // the limits are not, or may not be, what they were
	joins             []int // open JoinFiles

	mu       sync.Mutex
	counters map[string]int // open files of counters, by name
}

func (g *Group) has(dir string) bool {
	return slices.Contains(g.dirs, dir)
}

// JoinFiles are the files to write "0" to for the writing process, of one thread, to join. On version 1 that is tasks:
// while a process is moved by cgroup.procs no other on the machine can fork, which costs more than all else in making a
// sandbox; a thread that moves itself holds nobody up.
func (g *Group) JoinFiles() []string {
	name := "cgroup.procs"
	if !g.v2 {
		name = "tasks"
	}
	files := make([]string, len(g.dirs))
	for i, d := range g.dirs {
		files[i] = filepath.Join(d, name)
	}
	return files
}

// Join returns JoinFiles opened for writing. They stay the group's, and open until it is removed.
func (g *Group) Join() ([]int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.joins != nil {
		return g.joins, nil
	}
	var joins []int
	for _, f := range g.JoinFiles() {
		fd, err := unix.Open(f, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			for _, fd := range joins {
				unix.Close(fd)
			}
			return nil, &fs.PathError{Op: "cgroup: open", Path: f, Err: err}
		}
		joins = append(joins, fd)
	}
	g.joins = joins
	return joins, nil
}

// close closes what Join and read have opened.
func (g *Group) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, fd := range g.joins {
		unix.Close(fd)
	}
	for _, fd := range g.counters {
		unix.Close(fd)
	}
	g.joins, g.counters = nil, nil
}

// Dir is the folder to open for CLONE_INTO_CGROUP, empty where that does not work.
func (g *Group) Dir() string {
	if g.v2 && len(g.dirs) == 1 {
		return g.dirs[0]
	}
	return ""
}
