package rawclone

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Child is a process that Start made.
type Child struct {
	// PID is the process that runs the program to its end: the forked one if the program has a Fork.
	PID    int
	prog   *Program
	report *os.File
}

// Start clones a child with these CLONE flags and runs p in it. It returns when the child has come to Report or Fork,
// or has failed before; then it is gone and the error is an *Error. The caller has to wait for PID and to Close.
func (p *Program) Start(flags uintptr) (*Child, error) {
	var pp [2]int
	if err := unix.Pipe2(pp[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(pp[0], true); err != nil {
		return nil, err
	}
	p.fork = -1
	for i := range p.ops {
		if p.ops[i].kind == kindFork {
			p.fork = i
		}
	}
	c := &Child{prog: p, report: os.NewFile(uintptr(pp[0]), "report")}
	pid, errno := clone(flags|uintptr(syscall.SIGCHLD), p.ops, uintptr(pp[1]))
	runtime.KeepAlive(p)
	unix.Close(pp[1])
	if errno != 0 {
		c.Close()
		return nil, &Error{Name: "clone", Errno: errno}
	}
	if p.fork < 0 {
		rec, err := c.read()
		if err == nil && rec.errno == 0 {
			c.PID = pid
			return c, nil
		}
		_, _ = Wait(pid, nil)
		return nil, c.fail(rec, err)
	}
	// The forked process may have reported, or failed, before the one that forked it tells its id.
	var failed *record
	for {
		rec, err := c.read()
		switch {
		case err != nil, rec.errno != 0 && int(rec.index) <= p.fork:
			_, _ = Wait(pid, nil)
			return nil, c.fail(rec, err)
		case rec.errno != 0:
			failed = &rec
		case rec.pid != 0:
			_, _ = Wait(pid, nil)
			c.PID = int(rec.pid)
			if failed != nil {
				_, _ = Wait(c.PID, nil)
				return nil, c.fail(*failed, nil)
			}
			return c, nil
		}
	}
}

// fail closes c and returns why the program did not run.
func (c *Child) fail(rec record, err error) error {
	c.Close()
	if errors.Is(err, io.EOF) {
		return errors.New("the child was killed")
	}
	if err != nil {
		return err
	}
	return c.prog.failure(rec)
}

// Failure says, of a child that has ended, whether it was by a call that failed after Start had returned.
func (c *Child) Failure() error {
	raw, err := c.report.SyscallConn()
	if err != nil {
		return err
	}
	var rec record
	var n int
	// Other children may hold the pipe, so its end is not waited for: the descriptor does not block.
	if err := raw.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), rec.bytes()) }); err != nil {
		return err
	}
	if n == int(recordSize) && rec.errno != 0 {
		return c.prog.failure(rec)
	}
	return nil
}

// Close frees what Start made in this process; it does not touch the child.
func (c *Child) Close() { c.report.Close() }

func (c *Child) read() (rec record, err error) {
	_, err = io.ReadFull(c.report, rec.bytes())
	return rec, err
}

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
	for {
		var ws unix.WaitStatus
		_, err := unix.Wait4(pid, &ws, 0, usage)
		if err != unix.EINTR {
			return ws, err
		}
	}
}

var fullSet = [8]byte{255, 255, 255, 255, 255, 255, 255, 255}

// clone is the only place where a child is made. Signals are blocked around it, so nothing makes this thread leave the
// function between the calls, and the child inherits the mask.
//
//go:noinline
//go:norace
//go:nocheckptr
func clone(flags uintptr, ops []op, report uintptr) (pid int, errno syscall.Errno) {
	var old [8]byte
	runtime.LockOSThread()
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&fullSet)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	r, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, flags, 0, 0, 0, 0, 0)
	if errno == 0 && r == 0 {
		interpret(ops, report)
	}
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	runtime.UnlockOSThread()
	return int(r), errno
}
