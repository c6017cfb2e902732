// Package rawclone makes processes whose whole program is a list of system calls that the parent prepared. No Go code
// but one loop runs in the child, and no other program is executed on the way, which makes a child with eight namespaces
// and thirty mounts cost about as much as a fork. What the calls are for is the caller's business.
//
// Why this is safe although the child is a copy of one thread of a Go process:
//   - The child has memory of its own (no CLONE_VM): nothing it does is seen by the parent but what it writes to the
//     report pipe.
//   - From before the clone until the end of the child every signal is blocked, so no handler of the Go runtime runs in
//     it. It is single-threaded: there is no garbage collector and no scheduler in it.
//   - The child runs interpret and nothing else. interpret is nosplit, and so is all that it calls, which the linker
//     checks: no stack growth. It allocates nothing and stores no pointers: no write barriers.
//   - Everything it reads is in memory of the Program's own, outside of the Go heap, filled before the clone.
//
// The rest of the memory is not for the child: see Slim.
//
// The calling process must have all its descriptors close-on-exec, since a child that does not execute anything has
// them all until it closes them.
package rawclone

import (
	"fmt"
	"syscall"
	"unsafe"
)

type kind uint8

const (
	kindCall kind = iota
	kindExec
	kindWrite
	kindCopy
	kindResetSignals
	kindReport
	kindHold
	kindCloseFrom
	kindExit
)

// op is one step of a program. Addresses in arg, and exec, are of the Program's memory.
type op struct {
	nr      uintptr
	arg     [6]uintptr
	reg     [6]uint8 // one more than the register that replaces the argument; zero: none
	kind    kind
	save    uint8 // one more than the register for the result; zero: none
	ignore  bool  // errors do not matter
	benign  uintptr
	benign2 uintptr
	exec    *exec
}

// exec is what kindExec needs: zero-terminated vectors of addresses, and what to say where nothing could be executed.
type exec struct {
	paths     []uintptr
	argv, env uintptr
	refusals  []refusal
}

// refusal is a Refusal in the Program's memory.
type refusal struct {
	errno, status, line, size uintptr
}

// Refusal is what a child does where the kernel executes none of the paths: it writes Line to descriptor 2 and ends with
// Status. The last one of a list is for every Errno that the others do not name.
type Refusal struct {
	Errno  syscall.Errno
	Status int
	Line   string
}

// Reg is one of eight registers of a child, which hold results (descriptors) for later calls.
type Reg uint8

const registers = 8

// Program is a list of calls. Build it with its methods, then Start it, once, and Free it.
type Program struct {
	ops   []op
	names []string
	mem   memory
	// buffer is what Copy moves bytes through, in the child only.
	buffer []byte
}

// Call adds a system call. name says in an error what it was for. An argument is an int, uintptr, uint32 or uint64, a
// string (the address of a zero-terminated copy), a []byte (the address of a copy, or zero), or a Reg.
func (p *Program) Call(name string, nr uintptr, args ...any) *Call {
	o := op{kind: kindCall, nr: nr}
	for i, a := range args {
		if r, ok := a.(Reg); ok {
			o.reg[i] = uint8(r) + 1
			continue
		}
		o.arg[i] = p.value(a)
	}
	return p.add(name, o)
}

// Call is a call that was added; its methods say what to do with its result.
type Call struct{ op *op }

// Save keeps the result in r.
func (c *Call) Save(r Reg) *Call { c.op.save = uint8(r) + 1; return c }

// Ignore goes on after any error.
func (c *Call) Ignore() { c.op.ignore = true }

// Allow goes on after these one or two errors.
func (c *Call) Allow(errs ...syscall.Errno) {
	c.op.benign = uintptr(errs[0])
	if len(errs) > 1 {
		c.op.benign2 = uintptr(errs[1])
	}
}

// Write writes all of content to a descriptor, however often it takes: a write that the kernel cuts short is followed by
// the error that says why.
func (p *Program) Write(name string, to any, content []byte) {
	o := op{kind: kindWrite}
	if r, ok := to.(Reg); ok {
		o.reg[0] = uint8(r) + 1
	} else {
		o.arg[0] = p.value(to)
	}
	o.arg[1], o.arg[2] = p.value(content), uintptr(len(content))
	p.add(name, o)
}

// copySize is how much Copy moves at once, at most.
const copySize = 64 << 10

// Copy copies n bytes from one descriptor to another; the end of the input before that is EPIPE.
func (p *Program) Copy(name string, from, to any, n int64) {
	o := op{kind: kindCopy}
	for i, a := range []any{from, to} {
		if r, ok := a.(Reg); ok {
			o.reg[i] = uint8(r) + 1
		} else {
			o.arg[i] = p.value(a)
		}
	}
	if size := int(max(1, min(n, copySize))); len(p.buffer) < size {
		p.buffer = p.mem.alloc(size)
	}
	o.arg[2], o.arg[3], o.arg[4] = uintptr(n), uintptr(unsafe.Pointer(&p.buffer[0])), uintptr(len(p.buffer))
	p.add(name, o)
}

// ResetSignals gives every signal its default action and, if unblock is set, unblocks them all.
func (p *Program) ResetSignals(unblock bool) {
	o := op{kind: kindResetSignals}
	o.arg[1] = p.value(make([]byte, 64)) // a struct sigaction of any architecture, and a set of signals
	if unblock {
		o.arg[0] = 1
	}
	p.add("reset signals", o)
}

// Report tells Start that the program has got this far.
func (p *Program) Report() { p.add("report", op{kind: kindReport}) }

// Hold waits until the other end of the pipe fd is closed, then ends the process.
func (p *Program) Hold(fd int) { p.add("hold", op{kind: kindHold, arg: [6]uintptr{uintptr(fd)}}) }

// CloseFrom closes every descriptor from fd on but the one for reports.
func (p *Program) CloseFrom(fd int) {
	p.add("close the rest", op{kind: kindCloseFrom, arg: [6]uintptr{uintptr(fd)}})
}

// Exit ends the process.
func (p *Program) Exit(status int) {
	p.add("exit", op{kind: kindExit, arg: [6]uintptr{uintptr(status)}})
}

// Exec executes the first of paths that can be, like a shell: it goes on after errors that say that a file is not there,
// and after EACCES. If none can be, one of the refusals, of which there must be some, is carried out: for EACCES if that
// was among the errors, for ENOENT if no file is there. Child.Refused tells the error.
func (p *Program) Exec(paths []string, argv, env []string, refusals []Refusal) {
	vector := func(ss []string) []uintptr {
		v := words(p.mem.alloc((len(ss) + 1) * wordSize))
		for i, s := range ss {
			v[i] = p.value(s)
		}
		return v
	}
	x := (*exec)(unsafe.Pointer(&p.mem.alloc(int(unsafe.Sizeof(exec{})))[0]))
	x.paths = vector(paths)[:len(paths)]
	x.argv, x.env = uintptr(unsafe.Pointer(&vector(argv)[0])), uintptr(unsafe.Pointer(&vector(env)[0]))
	x.refusals = unsafe.Slice((*refusal)(unsafe.Pointer(&p.mem.alloc(len(refusals) * int(unsafe.Sizeof(refusal{})))[0])), len(refusals))
	for i, r := range refusals {
		x.refusals[i] = refusal{uintptr(r.Errno), uintptr(r.Status), p.value(r.Line), uintptr(len(r.Line))}
	}
	p.add("execute", op{kind: kindExec, exec: x})
}

func (p *Program) add(name string, o op) *Call {
	if len(p.ops) == cap(p.ops) { // calls point into ops: grow by a copy, older calls are complete by then
		p.ops = append(make([]op, 0, 2*len(p.ops)+64), p.ops...)
	}
	p.ops = append(p.ops, o)
	p.names = append(p.names, name)
	return &Call{&p.ops[len(p.ops)-1]}
}

func (p *Program) value(a any) uintptr {
	switch a := a.(type) {
	case int:
		return uintptr(a)
	case uintptr:
		return a
	case uint32:
		return uintptr(a)
	case uint64:
		return uintptr(a)
	case string:
		return p.value(append([]byte(a), 0))
	case []byte:
		if len(a) == 0 {
			return 0
		}
		b := p.mem.alloc(len(a))
		copy(b, a)
		return uintptr(unsafe.Pointer(&b[0]))
	}
	panic(fmt.Sprintf("rawclone: argument of type %T", a))
}

// Bytes is a structure of the kernel as an argument of Call. It may not hold addresses of the Go heap.
func Bytes[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

// Data copies b to where the child will find it, and returns its address there, for use within a structure.
func (p *Program) Data(b []byte) uintptr { return p.value(b) }

// Free gives the program's memory back. It may be called more than once.
func (p *Program) Free() { p.mem.free(); p.buffer = nil }

// Error is a call of a child that failed.
type Error struct {
	Name  string // as given to Call
	Index int    // which call of the program
	Errno syscall.Errno
}

func (e *Error) Error() string { return e.Name + ": " + e.Errno.Error() }

func (e *Error) Unwrap() error { return e.Errno }
