// Package procs tells the processes of a command from all others. What a command starts may leave its session, its
// parent and its environment behind, but not the limits that the kernel hands down to every child: one of them that no
// ordinary program touches, RLIMIT_RTTIME, carries the command's mark. Who gives which marks, and what they mean, is the
// caller's.
package procs

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// MarkLimit is the limit that carries marks: microseconds that a real-time process may compute without a pause.
const MarkLimit = unix.RLIMIT_RTTIME

// Mark returns both values of the limit, unix.RLIM_INFINITY where there is none. ok is false for a process that has
// ended, or is not there.
func Mark(pid int) (soft, hard uint64, ok bool) {
	if !alive(pid) {
		return 0, 0, false
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		return 0, 0, false
	}
	_, rest, _ := bytes.Cut(b, []byte("Max realtime timeout"))
	var s, h string
	if _, err := fmt.Sscan(string(rest), &s, &h); err != nil {
		return 0, 0, false
	}
	soft, ok1 := value(s)
	hard, ok2 := value(h)
	return soft, hard, ok1 && ok2
}

func value(s string) (uint64, bool) {
	if s == "unlimited" {
		return unix.RLIM_INFINITY, true
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

// alive says whether a process has a thread that runs. One whose first thread has ended is shown as a zombie while
// others go on.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // from the third field of proc_pid_stat(5) on
	if len(f) < 18 {
		return false
	}
	zombie := f[0][0] == 'Z' || f[0][0] == 'X'
	threads := string(f[17])
	return !zombie || threads != "1" && threads != "0"
}
