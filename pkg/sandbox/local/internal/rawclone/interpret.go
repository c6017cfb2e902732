package rawclone

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// record is what a child writes to its report pipe: a call that failed, or, with errno zero, that it got to Report. Where
// nothing could be executed, which is no failure of the program's, the index is refused.
type record struct {
	index, errno int32
}

const refused = -1

const recordSize = unsafe.Sizeof(record{})

// interpret runs a program in the child and never returns. See the package documentation for what it must not do.
//
//go:nosplit
//go:noinline
//go:norace
//go:nocheckptr
func interpret(ops []op, report uintptr) {
	var regs [registers]uintptr
	var arg [6]uintptr
	var rec record
	var j, r, left uintptr
	var e syscall.Errno
	for i := range ops {
		o := &ops[i]
		for j = 0; j < 6; j++ {
			arg[j] = o.arg[j]
			if o.reg[j] != 0 {
				arg[j] = regs[(o.reg[j]-1)%registers]
			}
		}
		rec.index = int32(i)
		r, e = 0, 0
		switch o.kind {
		case kindCall:
			r, _, e = syscall.RawSyscall6(o.nr, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5])
		case kindExec:
			execute(o.exec, report)
		case kindWrite:
			e = writeAll(arg[0], arg[1], arg[2])
		case kindCopy:
			left = arg[2]
			for left > 0 && e == 0 {
				r, _, e = syscall.RawSyscall(unix.SYS_READ, arg[0], arg[3], min(left, arg[4]))
				if e == syscall.EINTR {
					e = 0
					continue
				}
				if e == 0 && r == 0 {
					e = syscall.EPIPE
				}
				if e == 0 {
					left -= r
					e = writeAll(arg[1], arg[3], r)
				}
			}
		case kindResetSignals:
			for j = 1; j <= 64; j++ { // fails for KILL and STOP, which have no action to reset
				syscall.RawSyscall6(unix.SYS_RT_SIGACTION, j, arg[1], 0, 8, 0, 0)
			}
			if arg[0] != 0 {
				_, _, e = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, arg[1], 0, 8, 0, 0)
			}
		case kindReport:
			rec.errno = 0
			syscall.RawSyscall(unix.SYS_WRITE, report, uintptr(unsafe.Pointer(&rec)), recordSize)
		case kindHold:
			for {
				r, _, e = syscall.RawSyscall(unix.SYS_READ, arg[0], uintptr(unsafe.Pointer(&rec)), 1)
				if e != syscall.EINTR {
					syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
				}
			}
		case kindCloseFrom:
			if arg[0] < report {
				_, _, e = syscall.RawSyscall(unix.SYS_CLOSE_RANGE, arg[0], report-1, 0)
			}
			if e == 0 {
				_, _, e = syscall.RawSyscall(unix.SYS_CLOSE_RANGE, max(arg[0], report+1), 1<<32-1, 0)
			}
		case kindExit:
			syscall.RawSyscall(unix.SYS_EXIT_GROUP, arg[0], 0, 0)
		}
		if e != 0 && !o.ignore && uintptr(e) != o.benign && uintptr(e) != o.benign2 {
			rec.errno = int32(e)
			syscall.RawSyscall(unix.SYS_WRITE, report, uintptr(unsafe.Pointer(&rec)), recordSize)
			break
		}
		if o.save != 0 {
			regs[(o.save-1)%registers] = r
		}
	}
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, FailedStatus, 0, 0)
	}
}

// FailedStatus is the exit status of a child that a failed call ended, or that came to the end of its program.
const FailedStatus = 125

// execute is kindExec: it returns only if there was nothing to execute.
//
//go:nosplit
//go:noinline
//go:norace
//go:nocheckptr
func execute(x *exec, report uintptr) {
	why := syscall.ENOENT
	for i := 0; i < len(x.paths); i++ {
		_, _, e := syscall.RawSyscall(unix.SYS_EXECVE, x.paths[i], x.argv, x.env)
		if e == syscall.EACCES {
			why = e
		} else if e != syscall.ENOENT && e != syscall.ENOTDIR && e != syscall.ENAMETOOLONG && e != syscall.ELOOP {
			why = e
			break
		}
	}
	rec := record{index: refused, errno: int32(why)}
	syscall.RawSyscall(unix.SYS_WRITE, report, uintptr(unsafe.Pointer(&rec)), recordSize)
	for i := 0; i < len(x.refusals); i++ {
		r := &x.refusals[i]
		if r.errno == uintptr(why) || i == len(x.refusals)-1 {
			writeAll(2, r.line, r.size)
			syscall.RawSyscall(unix.SYS_EXIT_GROUP, r.status, 0, 0)
		}
	}
}

//go:nosplit
//go:noinline
//go:norace
//go:nocheckptr
func writeAll(fd, buf, n uintptr) syscall.Errno {
	for n > 0 {
		r, _, e := syscall.RawSyscall(unix.SYS_WRITE, fd, buf, n)
		if e == syscall.EINTR {
			continue
		}
		if e == 0 && r == 0 {
			e = syscall.EIO
		}
		if e != 0 {
			return e
		}
		buf, n = buf+r, n-r
	}
	return 0
}
