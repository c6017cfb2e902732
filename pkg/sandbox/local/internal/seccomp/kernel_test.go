package seccomp

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

const childVar = "SBXRUN_SECCOMP_TEST"

func TestMain(m *testing.M) {
	if job := os.Getenv(childVar); job != "" {
		if err := child(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// runChild runs this program under the filter.
func runChild(t *testing.T, job string) syscall.WaitStatus {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childVar+"="+job)
	return run(t, cmd)
}

func run(t *testing.T, cmd *exec.Cmd) syscall.WaitStatus {
	t.Helper()
	cmd.Stderr = t.Output()
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.Sys().(syscall.WaitStatus)
}

func child(job string) error {
	filter, err := Filter(Options{NoMemfd: true})
	if err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		return e
	}
	if path, ok := strings.CutPrefix(job, "exec:"); ok {
		return unix.Exec(path, []string{path}, nil)
	}
	return attempts()
}

// attempts makes the calls that are refused, and some that are not. Arguments are such that nothing happens where one
// is let through.
func attempts() error {
	none := ^uintptr(0)
	var errs []error
	expect := func(what string, want, got unix.Errno) {
		if got != want {
			errs = append(errs, fmt.Errorf("%s: %v, want %v", what, got, want))
		}
	}
	call := func(n uintptr, args ...uintptr) unix.Errno {
		a := append(slices.Clone(args), none, none, none, none, none, none)
		_, _, e := unix.RawSyscall6(n, a[0], a[1], a[2], a[3], a[4], a[5])
		return e
	}
	if e := call(unix.SYS_KEYCTL); e != unix.EPERM {
		return fmt.Errorf("no filter is in force: keyctl: %v", e)
	}
	for _, n := range slices.Concat(refused, refusedHere, []uint32{unix.SYS_MEMFD_CREATE}) {
		expect(fmt.Sprint("call ", n), unix.EPERM, call(uintptr(n)))
	}
	expect("clone3", unix.ENOSYS, call(unix.SYS_CLONE3))
	expect("unshare", unix.EPERM, call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER))
	expect("clone", unix.EPERM, call(unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD), 0))
	expect("TIOCSTI", unix.EPERM, call(unix.SYS_IOCTL, none, 1<<40|unix.TIOCSTI))
	expect("ioctl", unix.EBADF, call(unix.SYS_IOCTL, none, unix.TIOCGWINSZ))
	for _, family := range []uintptr{unix.AF_VSOCK, unix.AF_ALG, unix.AF_PACKET, unix.AF_BLUETOOTH, unix.AF_KEY, unix.AF_CAN, unix.AF_TIPC, unix.AF_XDP} {
		expect(fmt.Sprint("socket of family ", family), unix.EAFNOSUPPORT, call(unix.SYS_SOCKET, family, unix.SOCK_STREAM, 0))
	}
	expect("uevents", unix.EPROTONOSUPPORT, call(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT))
	for _, family := range []uintptr{unix.AF_UNIX, unix.AF_INET, unix.AF_NETLINK} { // not every machine has IPv6
		expect(fmt.Sprint("socket of family ", family), 0, call(unix.SYS_SOCKET, family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0))
	}
	expect("personality", unix.EPERM, call(unix.SYS_PERSONALITY, 0x0100000))
	expect("which personality", 0, call(unix.SYS_PERSONALITY, 0xffffffff))
	if err := exec.Command("/bin/sh", "-c", "true | true").Run(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func TestKernelEnforces(t *testing.T) {
	if ws := runChild(t, "attempts"); !ws.Exited() || ws.ExitStatus() != 0 {
		t.Errorf("ended with %#x", ws)
	}
}
