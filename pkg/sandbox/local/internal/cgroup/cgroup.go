// Package cgroup limits and counts what sandboxes use, by control groups of version 2 or 1, in whatever part of the
// hierarchy this process may write; it finds that part, and where there is none it offers the approximations that work
// without. Which limits a sandbox gets, and what a hit limit means for a command, is the caller's.
package cgroup

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
