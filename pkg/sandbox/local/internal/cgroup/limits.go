package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// period is the span over which cpu time is counted, the kernel's default; the least quota that the kernel takes is
// a hundredth of it.
const (
	period   = 100_000 // microseconds
	minQuota = 1_000
)

// limit writes l into the group's files.
func (g *Group) limit(l Limits) error {
	if g.memory != "" && l.Memory > 0 {
		if err := g.limitMemory(l.Memory); err != nil {
			return err
		}
	}
	if g.pids != "" && l.PIDs > 0 {
		if err := write(g.pids, "pids.max", strconv.FormatInt(l.PIDs, 10)); err != nil {
			return err
		}
	}
	if g.cpu == "" || l.CPU <= 0 {
		return nil
	}
	quota := strconv.FormatInt(max(l.CPU*(period/1000), minQuota), 10)
	if g.v2 {
		return write(g.cpu, "cpu.max", quota+" "+strconv.Itoa(period))
	}
	if err := write(g.cpu, "cpu.cfs_period_us", strconv.Itoa(period)); err != nil {
		return err
	}
	return write(g.cpu, "cpu.cfs_quota_us", quota)
}

// limitMemory also keeps the group from evading its limit into swap: v2 turns swap off, v1 counts it where the kernel
// does swap accounting and asks the kernel not to swap otherwise. Kernels without swap have none of these files.
func (g *Group) limitMemory(bytes int64) error {
	n := strconv.FormatInt(bytes, 10)
	if g.v2 {
		return errors.Join(write(g.memory, "memory.max", n), optional(write(g.memory, "memory.swap.max", "0")))
	}
	if err := write(g.memory, "memory.limit_in_bytes", n); err != nil {
		return err
	}
	// What sockets hold, of any kind, is counted only where it is limited, and by itself. Not every kernel can.
	_ = write(g.memory, "memory.kmem.tcp.limit_in_bytes", strconv.FormatInt(bytes/4, 10))
	err := write(g.memory, "memory.memsw.limit_in_bytes", n)
	if errors.Is(err, fs.ErrNotExist) {
		return optional(write(g.memory, "memory.swappiness", "0"))
	}
	return err
}

// optional drops the error of a file that this kernel does not have.
func optional(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// write sets a control file with one call, which is what the kernel wants; it never creates one.
func write(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(value)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("cgroup: set %s to %s: %w", file, value, err)
	}
	return nil
}

// SetPIDs changes the limit on processes of a group that stands; zero lets no process of it fork. A group without a
// pids controller is left as it is.
func (g *Group) SetPIDs(n int64) error {
	if g.pids == "" {
		return nil
	}
	g.changed = true
	return write(g.pids, "pids.max", strconv.FormatInt(n, 10))
}
