package netcase

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newNetns asks inNetns for a new network namespace.
const newNetns = -1

// inNetns runs f on a thread of its own in a network namespace. The thread is not used again: one that could not be
// brought back would run others' code in the wrong network.
func inNetns(ns int, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		if unix.Gettid() == os.Getpid() {
			// The first thread does not end, and is what /proc/PID/ns shows. While it is locked here, the other goroutine
			// gets another one.
			done <- inNetns(ns, f)
			runtime.UnlockOSThread()
			return
		}
		var err error
		if ns == newNetns {
			err = unix.Unshare(unix.CLONE_NEWNET)
		} else {
			err = unix.Setns(ns, unix.CLONE_NEWNET)
		}
		if err != nil {
			done <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// LoopbackRequest is a struct ifreq that brings the loopback up: the argument of ioctl(SIOCSIFFLAGS) on any AF_INET
// datagram socket, for callers that prepare system calls.
var LoopbackRequest = loopbackRequest()

func loopbackRequest() (req [40]byte) {
	copy(req[:unix.IFNAMSIZ], "lo")
	*(*uint16)(unsafe.Pointer(&req[unix.IFNAMSIZ])) = unix.IFF_UP | unix.IFF_RUNNING
	return req
}

// LoopbackUp brings the loopback of this thread's network namespace up.
func LoopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	defer unix.Close(fd)
	req := LoopbackRequest
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&req))); e != 0 {
		return fmt.Errorf("loopback: %w", e)
	}
	return nil
}
