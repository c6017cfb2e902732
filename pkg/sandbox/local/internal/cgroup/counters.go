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
	if u.Memory, err = g.charged(); err != nil {
		return u, err
	}
	if g.pids != "" {
		u.PIDs, err = g.number(g.pids, "pids.current")
	}
	return u, err
}

// charged is all memory of the group, with what the kernel caches for it.
func (g *Group) charged() (int64, error) {
	now := "memory.usage_in_bytes"
	if g.v2 {
		now = "memory.current"
	}
	if g.memory == "" {
		return 0, nil
	}
	return g.number(g.memory, now)
}

// Taken returns the memory that the group's processes have taken: what they have written to, and what they share, but for
// files on their disk, a tmpfs, which hold onDisk bytes. What the kernel caches, or needs itself, counts only where that is
// no matter: where all that is charged, without those files, is no more than enough. That is quicker to read.
func (g *Group) Taken(enough int64, onDisk func() int64) (int64, error) {
	n, err := g.charged()
	if err != nil || n <= enough {
		return n, err
	}
	disk := onDisk()
	if n -= disk; n <= enough {
		return max(n, 0), nil
	}
	own, shared := "total_rss", "total_shmem"
	if g.v2 {
		own, shared = "anon", "shmem"
	}
	if n, err = g.field(g.memory, "memory.stat", own); err != nil {
		return 0, err
	}
	shm, err := g.field(g.memory, "memory.stat", shared)
	// What was written or removed meanwhile is in one of the two looks at the disk.
	return n + max(shm-max(disk, onDisk()), 0), err
}

// field returns the number after name in a file of "name number" lines, zero where the line is missing.
func (g *Group) field(dir, file, name string) (int64, error) {
	var buf [4096]byte
	data, err := g.read(dir, file, buf[:])
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
	var buf [64]byte
	data, err := g.read(dir, file, buf[:])
	if err != nil {
		return 0, err
	}
	return parse(file, bytes.TrimSpace(data))
}

// read reads a short control file into buf. It stays open, since some are read before each command.
func (g *Group) read(dir, file string, buf []byte) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fd, open := g.counters[file]
	if !open {
		var err error
		name := filepath.Join(dir, file)
		if fd, err = unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return nil, &fs.PathError{Op: "cgroup: open", Path: name, Err: err}
		}
		if g.counters == nil {
			g.counters = map[string]int{}
		}
		g.counters[file] = fd
	}
	n, err := unix.Pread(fd, buf, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "cgroup: read", Path: filepath.Join(dir, file), Err: err}
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
