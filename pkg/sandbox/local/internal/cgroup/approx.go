package cgroup

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// What stands in for control groups where there are none. Each is weaker: memory may be overshot between two looks, and
// a share of a core becomes a whole one.

// MemoryOf returns the resident memory of processes together. Pages that they share are counted as often as they are
// shared while the sum stays below enough, and once, at a higher cost, where that would make it exceed enough.
func MemoryOf(pids []int, enough int64) int64 {
	var sum int64
	for _, pid := range pids {
		sum += resident(pid)
	}
	if sum <= enough {
		return sum
	}
	sum = 0
	for _, pid := range pids {
		sum += proportional(pid)
	}
	return sum
}

// resident reads the second field of statm, in pages; a process that is gone uses nothing.
func resident(pid int) int64 {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(data, []byte(" "))
	pages, _, _ := bytes.Cut(rest, []byte(" "))
	n, _ := strconv.ParseInt(string(pages), 10, 64)
	return n * int64(os.Getpagesize())
}

// proportional reads Pss: of a page that n processes share it counts an n-th. Without the permission to see it, resident.
func proportional(pid int) int64 {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return resident(pid)
	}
	for line := range bytes.Lines(data) {
		if value, ok := bytes.CutPrefix(line, []byte("Pss:")); ok {
			if f := bytes.Fields(value); len(f) > 0 {
				n, _ := strconv.ParseInt(string(f[0]), 10, 64)
				return n << 10
			}
		}
	}
	return 0
}

// DataLimit is the RLIMIT_DATA of each process of a sandbox with a memory limit. It is not the limit itself: runtimes
// set aside far more than they use. It stops one process from growing without bound between two looks at its memory.
func DataLimit(memory int64) uint64 {
	return uint64(max(4*memory, memory+1<<30))
}

// Affinity returns cores, as many as a CPU limit in thousandths rounds up to, out of those that this process may use;
// spread says where to start, so that sandboxes get different ones. ok is false where the limit is none or not below
// what there is.
func Affinity(milli int64, spread int) (set unix.CPUSet, ok bool) {
	var all unix.CPUSet
	if milli <= 0 || unix.SchedGetaffinity(0, &all) != nil {
		return set, false
	}
	var cores []int
	for c := range len(all) * 64 {
		if all.IsSet(c) {
			cores = append(cores, c)
		}
	}
	n := int((milli + 999) / 1000)
	if n >= len(cores) {
		return set, false
	}
	start := spread % len(cores)
	if start < 0 {
		start += len(cores)
	}
	for i := range n {
		set.Set(cores[(start+i)%len(cores)])
	}
	return set, true
}
