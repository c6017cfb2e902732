package rawclone

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Child is a process that runs a Program.
type Child struct {
	PID    int
	prog   *Program
	report *os.File

	told bool // last was read
	last record
}

// Start clones a child with these CLONE flags and runs p in it. It returns when the child has come to Report, or has
// failed before; then it is gone and the error is an *Error. The caller has to wait for PID and to Close.
func (p *Program) Start(flags uintptr) (*Child, error) {
	c, err := p.launch(flags, -1, -1)
	if err != nil {
		return nil, err
	}
	var rec record
	if _, err = io.ReadFull(c.report, rec.bytes()); err == nil && rec.errno == 0 {
		return c, nil
	}
	_, _ = Wait(c.PID, nil)
	c.Close()
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("the child was killed")
	case err != nil:
		return nil, err
	}
	return nil, p.failure(rec)
}

var ownPIDs = sync.OnceValues(func() (int, error) {
	return unix.Open("/proc/self/ns/pid", unix.O_RDONLY|unix.O_CLOEXEC, 0)
})

// StartIn clones a child that is in the PID namespace of another process, given by its pidfd, and runs p in it. It does
// not wait for anything: once the child has ended, Failure says whether a call had failed. The caller needs
// CAP_SYS_ADMIN over its own PID namespace too, to come back to it.
func (p *Program) StartIn(pidfd int) (*Child, error) {
	own, err := ownPIDs()
	if err != nil {
		return nil, err
	}
	return p.launch(0, pidfd, own)
}

// CallClone is the Name in the Error of a child that could not be made.
const CallClone = "clone"

// one clone at a time: what is shown to a child of one would be hidden by the other.
var one sync.Mutex

// cloned counts the clones. After so many of them there may be more memory to hide.
var cloned int

const hideEvery = 64

func (p *Program) launch(flags uintptr, pidfd, own int) (*Child, error) {
	var pp [2]int
	if err := unix.Pipe2(pp[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, err
	}
	c := &Child{prog: p, report: os.NewFile(uintptr(pp[0]), "report")}
	ops := unsafe.Slice((*op)(unsafe.Pointer(&p.mem.alloc(len(p.ops) * int(unsafe.Sizeof(op{})))[0])), len(p.ops))
	copy(ops, p.ops)
	one.Lock()
	if cloned++; plain && cloned%hideEvery == 0 {
		_ = hideRest() // what stays visible costs time
	}
	pid, errno := clone(flags|uintptr(syscall.SIGCHLD), pidfd, own, ops, uintptr(pp[1]))
	one.Unlock()
	p.Free()
	unix.Close(pp[1])
	if errno != 0 {
		c.Close()
		return nil, &Error{Name: CallClone, Errno: errno}
	}
	c.PID = pid
	return c, nil
}

// Failure says, of a child that has ended, whether it was by a call that failed after Start had returned.
func (c *Child) Failure() error {
	rec, err := c.end()
	if err == nil && rec.errno != 0 && rec.index != refused {
		err = c.prog.failure(rec)
	}
	return err
}

// Refused says, of a child that has ended, why the kernel executed nothing that Exec was for; else zero.
func (c *Child) Refused() syscall.Errno {
	if rec, err := c.end(); err == nil && rec.index == refused {
		return syscall.Errno(rec.errno)
	}
	return 0
}

// end returns what a child has reported since Start returned, if anything.
func (c *Child) end() (record, error) {
	if c.told {
		return c.last, nil
	}
	raw, err := c.report.SyscallConn()
	if err != nil {
		return record{}, err
	}
	var rec record
	var n int
	// Other children may hold the pipe, so its end is not waited for: the descriptor does not block.
	if err := raw.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), rec.bytes()) }); err != nil {
		return record{}, err
	}
	if n == int(recordSize) {
		c.last = rec
	}
	c.told = true
	return c.last, nil
}

// Close frees what Start made in this process; it does not touch the child.
func (c *Child) Close() { c.report.Close() }

func (r *record) bytes() []byte { return unsafe.Slice((*byte)(unsafe.Pointer(r)), recordSize) }

func (p *Program) failure(r record) error {
	name := fmt.Sprint("call ", r.index)
	if int(r.index) < len(p.names) {
		name = p.names[r.index]
	}
	return &Error{Name: name, Index: int(r.index), Errno: syscall.Errno(r.errno)}
}

// Wait waits for a child of this process to end.
func Wait(pid int, usage *unix.Rusage) (unix.WaitStatus, error) {
	ws, _, err := wait(pid, 0, usage)
	return ws, err
}

// Ended is Wait for who does not want to wait: it says whether the child has ended.
func Ended(pid int, usage *unix.Rusage) (ws unix.WaitStatus, ended bool, err error) {
	return wait(pid, unix.WNOHANG, usage)
}

// wait leaves out what is no end: a child that has its parent trace it is reported whenever it stops, asked for or not.
func wait(pid, options int, usage *unix.Rusage) (ws unix.WaitStatus, ended bool, err error) {
	for {
		n, err := unix.Wait4(pid, &ws, options, usage)
		switch {
		case err == unix.EINTR:
		case err != nil || n == 0:
			return ws, false, err
		case ws.Exited() || ws.Signaled():
			return ws, true, nil
		}
	}
}

var fullSet = [8]byte{255, 255, 255, 255, 255, 255, 255, 255}

// clone is the only place where a child is made. Signals are blocked around it, so nothing makes this thread leave the
// function between the calls, and the child inherits the mask. That matters too while the thread is set to make its
// children in another PID namespace: it could not make threads then.
//
//go:noinline
//go:norace
//go:nocheckptr
func clone(flags uintptr, pidfd, own int, ops []op, report uintptr) (pid int, errno syscall.Errno) {
	var old [8]byte
	var r uintptr
	runtime.LockOSThread()
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&fullSet)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	if pidfd >= 0 {
		_, _, errno = syscall.RawSyscall(unix.SYS_SETNS, uintptr(pidfd), unix.CLONE_NEWPID, 0)
	}
	if errno == 0 && heapSize != 0 {
		errno = show(uintptr(unsafe.Pointer(&old)))
	}
	if errno == 0 {
		r, _, errno = syscall.RawSyscall6(unix.SYS_CLONE, flags, 0, 0, 0, 0, 0)
		if errno == 0 && r == 0 {
			interpret(ops, report)
		}
		if heapSize != 0 {
			hide()
		}
		if pidfd >= 0 {
			if _, _, e := syscall.RawSyscall(unix.SYS_SETNS, uintptr(own), unix.CLONE_NEWPID, 0); e != 0 {
				// The thread would make every later child in the wrong place. It does not happen to who may join the other
				// namespace and owns its own.
				syscall.RawSyscall(unix.SYS_EXIT_GROUP, 70, 0, 0)
			}
		}
	}
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	runtime.UnlockOSThread()
	return int(r), errno
}
