// Package seccomp compiles the filter of system calls that commands in a sandbox run under. It refuses what reaches for
// parts of the kernel that are shared with the host and that no ordinary program needs; what user and group ids,
// namespaces and missing capabilities forbid already is not repeated, but where the kernel has had holes.
package seccomp

import (
	"fmt"

	lib "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// refused are answered with EPERM.
var refused = []string{
	// Making and joining namespaces and mounts; clone and unshare are looked at below.
	"setns", "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick",
	"mount_setattr",
	// Keys are not kept apart by namespaces.
	"keyctl", "add_key", "request_key",
	// Large parts of the kernel that hostile programs have made much of.
	"bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "fanotify_init",
	// Files by handle go around mounts.
	"open_by_handle_at",
	// The machine's own.
	"kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot", "swapon", "swapoff", "acct",
	"quotactl", "syslog", "settimeofday", "clock_settime", "lookup_dcookie", "nfsservctl", "vhangup", "iopl", "ioperm",
	"modify_ldt", "sethostname", "setdomainname",
}

// namespaces are the flags of clone and unshare that are refused.
var namespaces = []uint64{
	unix.CLONE_NEWUSER, unix.CLONE_NEWNS, unix.CLONE_NEWPID, unix.CLONE_NEWNET, unix.CLONE_NEWIPC, unix.CLONE_NEWUTS,
	unix.CLONE_NEWCGROUP,
}

// cloneNewTime is a flag of unshare; in clone the bit is part of the exit signal.
const cloneNewTime = 0x80

// Offsets in struct seccomp_data. Arguments are 64 bits wide; the low half comes first on both architectures.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArg    = 16
)

// x32 is the bit that marks calls of the x32 ABI on amd64.
const x32 = 0x40000000

// Compile returns the filter for this machine's architecture.
func Compile() ([]bpf.RawInstruction, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return nil, fmt.Errorf("seccomp: %w", err)
	}
	number := func(name string) (uint32, bool) {
		n, ok := info.SyscallNames[name]
		return uint32(n), ok
	}
	kill, deny := bpf.RetConstant{Val: uint32(lib.ActionKillProcess)}, bpf.RetConstant{Val: uint32(lib.ActionErrno) | uint32(unix.EPERM)}

	// The library lets calls of another architecture through to the default action: end them first.
	prog := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offsetArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(info.ID), SkipTrue: 1},
		kill,
		bpf.LoadAbsolute{Off: offsetNumber, Size: 4},
	}
	if info.ID == arch.X86_64.ID {
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpLessThan, Val: x32, SkipTrue: 1}, kill)
	}
	// The kernel takes 32 bits of these arguments, so only those are compared: the library compares 64, and a bit set
	// above would go past it.
	for _, l := range []struct {
		call   string
		arg    uint32
		values []uint32
		allow  bool // values are what is allowed, else what is refused
		answer unix.Errno
	}{
		{"ioctl", 1, []uint32{unix.TIOCSTI, unix.TIOCLINUX}, false, unix.EPERM},
		{"socket", 0, []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}, true, unix.EAFNOSUPPORT},
		{"socketpair", 0, []uint32{unix.AF_UNIX}, true, unix.EAFNOSUPPORT},
		{"personality", 0, []uint32{0, 8, 0x20000, 0x20008, 0x40000, 0xffffffff}, true, unix.EPERM},
	} {
		n, ok := number(l.call)
		if !ok {
			continue
		}
		answer := bpf.RetConstant{Val: uint32(lib.ActionErrno) | uint32(l.answer)}
		body := []bpf.Instruction{bpf.LoadAbsolute{Off: offsetArg + 8*l.arg, Size: 4}}
		for i, v := range l.values {
			left := uint8(len(l.values) - 1 - i)
			if l.allow {
				left++ // over the answer
			}
			body = append(body, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: left})
		}
		if !l.allow { // no value matched: over the answer
			body = append(body[:len(body)-1], bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: l.values[len(l.values)-1], SkipTrue: 1})
		}
		body = append(body, answer, bpf.LoadAbsolute{Off: offsetNumber, Size: 4})
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: n, SkipTrue: uint8(len(body))})
		prog = append(prog, body...)
	}
	// Flags of clone3 are in memory, where a filter cannot look: with ENOSYS programs go on to clone.
	if n, ok := number("clone3"); ok {
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: n, SkipTrue: 1}, bpf.RetConstant{Val: uint32(lib.ActionErrno) | uint32(unix.ENOSYS)})
	}
	if n, ok := number("quotactl_fd"); ok {
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: n, SkipTrue: 1}, deny)
	}

	group := lib.SyscallGroup{Action: lib.ActionErrno}
	for _, name := range refused {
		if _, ok := number(name); ok { // not every architecture has all of them
			group.Names = append(group.Names, name)
		}
	}
	refuseFlag := func(call string, flag uint64) {
		group.NamesWithCondtions = append(group.NamesWithCondtions, lib.NameWithConditions{
			Name: call, Conditions: lib.ArgumentConditions{{Argument: 0, Operation: lib.BitsSet, Value: flag}},
		})
	}
	for _, flag := range namespaces {
		refuseFlag("clone", flag)
		refuseFlag("unshare", flag)
	}
	refuseFlag("unshare", cloneNewTime)
	rest, err := (&lib.Policy{DefaultAction: lib.ActionAllow, Syscalls: []lib.SyscallGroup{group}}).Assemble()
	if err != nil {
		return nil, fmt.Errorf("seccomp: %w", err)
	}
	raw, err := bpf.Assemble(append(prog, rest...))
	if err != nil {
		return nil, fmt.Errorf("seccomp: %w", err)
	}
	return raw, nil
}
