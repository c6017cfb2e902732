package seccomp

import (
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	pass = uint32(unix.SECCOMP_RET_ALLOW)
	dead = uint32(unix.SECCOMP_RET_KILL_PROCESS)
	high = uint64(1) << 40 // a bit that the kernel drops from 32 bit arguments
)

func errno(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }

// judge runs the filter as the kernel does, on one call.
func judge(t *testing.T, o Options, arch, number uint32, args ...uint64) uint32 {
	t.Helper()
	vm, err := bpf.NewVM(program(o))
	if err != nil {
		t.Fatal(err)
	}
	// struct seccomp_data; the machine of package bpf reads big-endian words.
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data, number)
	binary.BigEndian.PutUint32(data[4:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[16+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[20+8*i:], uint32(a>>32))
	}
	got, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(got)
}

func TestArguments(t *testing.T) {
	eperm, family := errno(unix.EPERM), errno(unix.EAFNOSUPPORT)
	for _, tc := range []struct {
		name   string
		number uint32
		args   []uint64
		want   uint32
	}{
		{"read", unix.SYS_READ, []uint64{0, 0, 0}, pass},
		{"ptrace", unix.SYS_PTRACE, []uint64{0}, pass},
		{"setns", unix.SYS_SETNS, nil, eperm},
		{"clone3", unix.SYS_CLONE3, nil, errno(unix.ENOSYS)},
		{"fork", unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, pass},
		{"thread", unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM | unix.CLONE_SETTLS | unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID}, pass},
		{"clone user", unix.SYS_CLONE, []uint64{unix.CLONE_NEWUSER | uint64(unix.SIGCHLD)}, eperm},
		{"clone user, high bit", unix.SYS_CLONE, []uint64{high | unix.CLONE_NEWUSER}, eperm},
		{"clone parent", unix.SYS_CLONE, []uint64{unix.CLONE_PARENT | uint64(unix.SIGCHLD)}, eperm},
		{"io_setup", unix.SYS_IO_SETUP, nil, errno(unix.ENOSYS)},
		{"clone cgroup", unix.SYS_CLONE, []uint64{unix.CLONE_NEWCGROUP}, eperm},
		{"clone, exit signal 128", unix.SYS_CLONE, []uint64{unix.CLONE_NEWTIME}, pass},
		{"unshare files", unix.SYS_UNSHARE, []uint64{unix.CLONE_FILES}, pass},
		{"unshare mounts", unix.SYS_UNSHARE, []uint64{unix.CLONE_NEWNS}, eperm},
		{"unshare time", unix.SYS_UNSHARE, []uint64{unix.CLONE_NEWTIME}, eperm},
		{"ioctl", unix.SYS_IOCTL, []uint64{0, unix.TIOCGWINSZ}, pass},
		{"TIOCSTI", unix.SYS_IOCTL, []uint64{0, unix.TIOCSTI}, eperm},
		{"TIOCSTI, high bit", unix.SYS_IOCTL, []uint64{0, high | unix.TIOCSTI}, eperm},
		{"TIOCLINUX", unix.SYS_IOCTL, []uint64{0, unix.TIOCLINUX}, eperm},
		{"unix", unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_STREAM}, pass},
		{"tcp", unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK}, pass},
		{"udp6", unix.SYS_SOCKET, []uint64{unix.AF_INET6, unix.SOCK_DGRAM}, pass},
		{"multipath tcp", unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}, pass},
		{"routes", unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, pass},
		{"netfilter", unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}, errno(unix.EPROTONOSUPPORT)},
		{"netfilter, high bits", unix.SYS_SOCKET, []uint64{high | unix.AF_NETLINK, unix.SOCK_RAW, high | unix.NETLINK_NETFILTER}, errno(unix.EPROTONOSUPPORT)},
		{"vsock", unix.SYS_SOCKET, []uint64{unix.AF_VSOCK, unix.SOCK_STREAM}, family},
		{"alg", unix.SYS_SOCKET, []uint64{unix.AF_ALG, unix.SOCK_SEQPACKET}, family},
		{"packet", unix.SYS_SOCKET, []uint64{unix.AF_PACKET, unix.SOCK_RAW}, family},
		{"packet, the old way", unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_PACKET | unix.SOCK_CLOEXEC}, errno(unix.ESOCKTNOSUPPORT)},
		{"pair", unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX}, pass},
		{"pair of tipc", unix.SYS_SOCKETPAIR, []uint64{unix.AF_TIPC}, family},
		{"no personality", unix.SYS_PERSONALITY, []uint64{0}, pass},
		{"which personality", unix.SYS_PERSONALITY, []uint64{0xffffffff}, pass},
		{"no random addresses", unix.SYS_PERSONALITY, []uint64{addrNoRandomize}, pass},
		{"mapped page zero", unix.SYS_PERSONALITY, []uint64{0x0100000}, eperm},
		{"nearly the question", unix.SYS_PERSONALITY, []uint64{0xfffffff7}, eperm},
		{"read implies exec", unix.SYS_PERSONALITY, []uint64{0x0400000 | addrNoRandomize}, eperm},
	} {
		if got := judge(t, Options{}, auditArch, tc.number, tc.args...); got != tc.want {
			t.Errorf("%s: %#x, want %#x", tc.name, got, tc.want)
		}
	}
}

func TestRefusedByNumber(t *testing.T) {
	all := slices.Concat(refused, refusedHere)
	for n := range uint32(600) {
		want := pass
		switch {
		case slices.Contains(absent, n):
			want = errno(unix.ENOSYS)
		case slices.Contains(all, n):
			want = errno(unix.EPERM)
		case n == unix.SYS_SOCKET || n == unix.SYS_SOCKETPAIR: // of family zero
			want = errno(unix.EAFNOSUPPORT)
		}
		if got := judge(t, Options{}, auditArch, n); got != want {
			t.Errorf("call %d: %#x, want %#x", n, got, want)
		}
	}
}

func TestForeign(t *testing.T) {
	for _, arch := range []uint32{unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_ARM, unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_AARCH64, 0} {
		want := dead
		if arch == auditArch {
			want = pass
		}
		if got := judge(t, Options{}, arch, unix.SYS_READ); got != want {
			t.Errorf("architecture %#x: %#x, want %#x", arch, got, want)
		}
	}
	if got := judge(t, Options{}, auditArch, 0xffffffff); got != pass {
		t.Errorf("call -1, which is none: %#x", got)
	}
}

func TestNoMemfd(t *testing.T) {
	if got := judge(t, Options{}, auditArch, unix.SYS_MEMFD_CREATE); got != pass {
		t.Errorf("memfd_create: %#x", got)
	}
	if got := judge(t, Options{NoMemfd: true}, auditArch, unix.SYS_MEMFD_CREATE); got != errno(unix.EPERM) {
		t.Errorf("memfd_create with NoMemfd: %#x", got)
	}
}
