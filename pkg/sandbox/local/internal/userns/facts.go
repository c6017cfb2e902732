package userns

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// statusField returns a field of /proc/self/status.
func statusField(status, name string) string {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// hasSysAdmin reads a set of capabilities in hex.
func hasSysAdmin(set string) bool {
	bits, err := strconv.ParseUint(set, 16, 64)
	return err == nil && bits&(1<<unix.CAP_SYS_ADMIN) != 0
}

// masked says whether something is mounted over parts of /proc, as containers do to hide them. The kernel lets nobody
// mount a new proc in a user namespace who cannot see all of one already (mount_too_revealing in fs/namespace.c); mounts
// on empty folders, such as binfmt_misc's, hide nothing.
func masked(mountinfo string) bool {
	for line := range strings.Lines(mountinfo) {
		f := strings.Fields(line)
		if len(f) < 5 || !strings.HasPrefix(f[4], "/proc/") || strings.HasPrefix(f[4], "/proc/sys/fs/binfmt_misc") {
			continue
		}
		return true
	}
	return false
}

// chrooted says whether this process's root is none of the mounts that it sees, which makes it a chroot for the kernel.
func chrooted(mountinfo string) bool {
	for line := range strings.Lines(mountinfo) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == "/" {
			return false
		}
	}
	return mountinfo != ""
}
