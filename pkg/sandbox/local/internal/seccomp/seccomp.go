// Package seccomp compiles the filter of system calls that commands of a sandbox run under. The sandbox's walls are its
// namespaces, its user and the capabilities that it does not have; the filter closes what those leave open (sockets and
// keys that no namespace keeps apart, input faked on terminals) and takes away parts of the kernel that ordinary programs
// do not need and that walls were broken through before. Installing the filter is the caller's.
//
// It is a list of refusals, so that programs of tomorrow run. Debuggers run too: ptrace and its like reach only
// processes of the same user, which are the sandbox's own.
package seccomp

import (
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Options of Filter.
type Options struct {
	// NoMemfd refuses files in memory without a name: where memory is limited by adding up what processes have mapped,
	// they would escape it.
	NoMemfd bool
	// NoSetID refuses to give files a set-user-id or set-group-id bit: where files outlive the sandbox, and others than
	// those in it may execute them as their owner, who is not the one who wrote them.
	NoSetID bool
	// NoAffinity refuses to choose cores: where that a process has few of them is its limit.
	NoAffinity bool
}

// Filter returns the program for SECCOMP_SET_MODE_FILTER, for this architecture. Calls of another ABI, which have other
// numbers (int 0x80 and x32 on amd64, 32 bit programs on arm64), kill the process.
func Filter(o Options) ([]unix.SockFilter, error) {
	instructions := program(o)
	raw, err := bpf.Assemble(instructions)
	if err != nil {
		return nil, fmt.Errorf("seccomp: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return filter, nil
}

// refused are answered with EPERM, as without the capability that most of them need.
var refused = []uint32{
	// Namespaces and mounts. Making namespaces is looked at below.
	unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_MOVE_MOUNT,
	unix.SYS_OPEN_TREE, unix.SYS_OPEN_TREE_ATTR, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK,
	unix.SYS_MOUNT_SETATTR,
	// Keys belong to users and sessions, which sandboxes one after the other may share.
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	// Large parts of the kernel that are open to every user and have let many out.
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER,
	unix.SYS_IO_URING_REGISTER, unix.SYS_FANOTIFY_INIT, unix.SYS_MEMFD_SECRET,
	// A handle opens a file wherever it is mounted.
	unix.SYS_OPEN_BY_HANDLE_AT,
	// The machine as a whole.
	unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE,
	unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_SYSLOG,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_LOOKUP_DCOOKIE, unix.SYS_NFSSERVCTL, unix.SYS_VHANGUP,
}

// absent are answered with ENOSYS, as by a kernel that does not have them: programs go on without. The flags of clone3 are
// in memory, where a filter cannot look. Asynchronous I/O of the old kind is counted for the whole machine.
var absent = []uint32{unix.SYS_CLONE3, unix.SYS_IO_SETUP}

// namespaces are the flags of clone and unshare that make namespaces.
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// typeMask are the bits of socket's second argument that are not flags.
const typeMask = 0xf

// checks look at arguments of calls. Only the low 32 bits count: the kernel takes no more of these arguments, and a
// comparison of 64 could be led past by a bit that the kernel drops.
var checks = []check{
	// A child of its parent's would be one of whoever started the command, who does not know it.
	{call: unix.SYS_CLONE, arg: 0, mask: namespaces | unix.CLONE_PARENT, only: []uint32{0}, answer: unix.EPERM},
	// In clone CLONE_NEWTIME is part of the signal.
	{call: unix.SYS_UNSHARE, arg: 0, mask: namespaces | unix.CLONE_NEWTIME, only: []uint32{0}, answer: unix.EPERM},
	// Input faked on a terminal, which may be one that a mount brought in.
	{call: unix.SYS_IOCTL, arg: 1, except: []uint32{unix.TIOCSTI, unix.TIOCLINUX}, answer: unix.EPERM},
	// Other families are not kept apart by network namespaces (vsock reaches the machine that a virtual machine runs on),
	// or are large and rarely used parts of the kernel. Of netlink, getifaddrs and with it most runtimes need routes.
	{call: unix.SYS_SOCKET, arg: 0, only: []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}, answer: unix.EAFNOSUPPORT},
	{call: unix.SYS_SOCKET, when: unix.AF_NETLINK, arg: 2, only: []uint32{unix.NETLINK_ROUTE}, answer: unix.EPROTONOSUPPORT},
	{call: unix.SYS_SOCKET, when: unix.AF_INET, arg: 1, mask: typeMask, except: []uint32{unix.SOCK_PACKET}, answer: unix.ESOCKTNOSUPPORT},
	{call: unix.SYS_SOCKETPAIR, arg: 0, only: []uint32{unix.AF_UNIX}, answer: unix.EAFNOSUPPORT},
	// Linux and Linux for 32 bits, with and without random addresses, which debuggers turn off, and an old version number;
	// and the question for what is set. The rest brings back gaps of older systems.
	{call: unix.SYS_PERSONALITY, arg: 0, answer: unix.EPERM, only: []uint32{
		0, perLinux32, addrNoRandomize, perLinux32 | addrNoRandomize, uname26, perLinux32 | uname26, addrNoRandomize | uname26,
		perLinux32 | addrNoRandomize | uname26, 0xffffffff,
	}},
}

// setID are the calls that give a file its mode, as far as all architectures have them. That of openat2 is in memory.
var setID = []check{
	{call: unix.SYS_FCHMOD, arg: 1, mask: setIDBits, only: []uint32{0}, answer: unix.EPERM},
	{call: unix.SYS_FCHMODAT, arg: 2, mask: setIDBits, only: []uint32{0}, answer: unix.EPERM},
	{call: unix.SYS_FCHMODAT2, arg: 2, mask: setIDBits, only: []uint32{0}, answer: unix.EPERM},
	{call: unix.SYS_MKNODAT, arg: 2, mask: setIDBits, only: []uint32{0}, answer: unix.EPERM},
	{call: unix.SYS_OPENAT, ifArg: 2, ifBits: createBits, arg: 3, mask: setIDBits, only: []uint32{0}, answer: unix.EPERM},
}

const (
	setIDBits  = unix.S_ISUID | unix.S_ISGID
	createBits = unix.O_CREAT | unix.O_TMPFILE&^unix.O_DIRECTORY // without them open has no mode, but whatever is in its place
)

// Of linux/personality.h.
const (
	perLinux32      = 0x0008
	uname26         = 0x0020000
	addrNoRandomize = 0x0040000
)
