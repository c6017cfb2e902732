package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Events counts, since the group was made, how often its limits struck.
type Events struct {
	OOMKills int64 // processes that were killed for memory
	PIDsMax  int64 // forks refused for PIDs
}

// Usage is what a group uses now. A field is zero where the kernel or the mode does not tell.
type Usage struct {
	Memory, MemoryPeak int64 // bytes
	PIDs               int64
}

// Events reads the counters of the group's limits.
func (g *Group) Events() (e Events, err error) {
	file := "memory.oom_control" // oom_kill is in it since Linux 4.13
	if g.v2 {
		file = "memory.events"
	}
	if g.memory != "" {
		if e.OOMKills, err = g.field(g.memory, file, "oom_kill"); err != nil {
			return e, err
		}
	}
	if g.pids != "" {
		e.PIDsMax, err = g.field(g.pids, "pids.events", "max")
	}
	return e, err
}

// Usage reads what the group uses.
func (g *Group) Usage() (u Usage, err error) {
	if u, err = g.usage(); err != nil || g.memory == "" {
		return u, err
	}
	peak := "memory.max_usage_in_bytes"
	if g.v2 {
		peak = "memory.peak" // since Linux 5.19
	}
	u.MemoryPeak, err = g.number(g.memory, peak)
	return u, optional(err)
}

// usage is Usage without the peak.
func (g *Group) usage() (u Usage, err error) {
	now := "memory.usage_in_bytes"
	if g.v2 {
		now = "memory.current"
	}
	if g.memory != "" {
		if u.Memory, err = g.number(g.memory, now); err != nil {
			return u, err
		}
	}
	if g.pids != "" {
		u.PIDs, err = g.number(g.pids, "pids.current")
	}
	return u, err
}

// field returns the number after name in a file of "name number" lines, zero where the line is missing.
func (g *Group) field(dir, file, name string) (int64, error) {
	data, err := g.read(dir, file)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(data) {
		if key, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte(" ")); ok && string(key) == name {
			return parse(file, value)
		}
	}
	return 0, nil
}

// number reads a file that holds one number.
func (g *Group) number(dir, file string) (int64, error) {
	data, err := g.read(dir, file)
	if err != nil {
		return 0, err
	}
	return parse(file, bytes.TrimSpace(data))
}

// read reads a short control file. It stays open, since some are read before each command.
func (g *Group) read(dir, file string) ([]byte, error) {
	name := filepath.Join(dir, file)
	g.mu.Lock()
	defer g.mu.Unlock()
	fd, open := g.counters[name]
	if !open {
		var err error
		if fd, err = unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return nil, &fs.PathError{Op: "cgroup: open", Path: name, Err: err}
		}
		if g.counters == nil {
			g.counters = map[string]int{}
		}
		g.counters[name] = fd
	}
	buf := make([]byte, 4096)
	n, err := unix.Pread(fd, buf, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "cgroup: read", Path: name, Err: err}
	}
	return buf[:n], nil
}

func parse(file string, b []byte) (int64, error) {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cgroup: read %s: %w", file, err)
	}
	return n, nil
}

// Processes lists the processes in the group, as this process's PID namespace numbers them.
func (g *Group) Processes() ([]int, error) {
	if len(g.dirs) == 0 {
		return nil, nil
	}
	return procs(g.dirs[0])
}

// procs reads a folder's cgroup.procs. Processes outside this PID namespace are listed as 0 and left out.
func procs(dir string) ([]int, error) {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	var pids []int
	for f := range bytes.FieldsSeq(data) {
		if pid, err := strconv.Atoi(string(f)); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
