package seccomp

import (
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// check refuses a call by one of its arguments.
type check struct {
	call uint32
	when uint32 // if not zero, only calls with this first argument
	// If ifBits is not zero, only calls in which argument ifArg has one of them.
	ifArg, ifBits uint32
	arg           uint32
	mask          uint32 // bits that are looked at; zero: all
	// Either only these values are let through, or all except these.
	only, except []uint32
	answer       unix.Errno
}

// Offsets in struct seccomp_data of linux/seccomp.h. Arguments have 64 bits; the low half comes first on both
// architectures.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
)

func load(offset uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: offset, Size: 4} }

func answer(e unix.Errno) bpf.Instruction {
	return bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(e)}
}

var kill = bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS}

// program is the whole filter. Whatever does not look at arguments comes to the same end for every call of its number,
// which the kernel works out beforehand (since Linux 5.11), so that its length costs nothing.
func program(o Options) []bpf.Instruction {
	p := []bpf.Instruction{load(offsetArch), bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1}, kill}
	p = append(p, foreignNumbers...)
	// The flags of clone3 are in memory, where a filter cannot look. Programs go on to clone where it is not there.
	p = append(p, refuse(unix.ENOSYS, unix.SYS_CLONE3)...)
	p = append(p, refuse(unix.EPERM, slices.Concat(refused, refusedHere)...)...)
	if o.NoMemfd {
		p = append(p, refuse(unix.EPERM, unix.SYS_MEMFD_CREATE)...)
	}
	all := checks
	if o.NoSetID {
		p = append(p, refuse(unix.ENOSYS, unix.SYS_OPENAT2)...)
		all = slices.Concat(checks, setID, setIDHere)
	}
	for _, c := range all {
		p = append(p, c.compile()...)
	}
	return append(p, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW})
}

// refuse answers calls by their numbers.
func refuse(e unix.Errno, calls ...uint32) []bpf.Instruction {
	p := []bpf.Instruction{load(offsetNumber)}
	for i, n := range calls {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: n, SkipTrue: uint8(len(calls) - i)})
	}
	return append(p, bpf.Jump{Skip: 1}, answer(e))
}

func (c check) compile() []bpf.Instruction {
	// A value that is found jumps over the next instruction: the answer, or the jump over the answer.
	values, end := c.only, []bpf.Instruction{answer(c.answer)}
	if c.except != nil {
		values, end = c.except, []bpf.Instruction{bpf.Jump{Skip: 1}, answer(c.answer)}
	}
	body := []bpf.Instruction{load(offsetArgs + 8*c.arg)}
	if c.mask != 0 {
		body = append(body, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: c.mask})
	}
	for i, v := range values {
		body = append(body, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: uint8(len(values) - i)})
	}
	body = append(body, end...)
	if c.ifBits != 0 {
		body = slices.Concat([]bpf.Instruction{
			load(offsetArgs + 8*c.ifArg),
			bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: c.ifBits, SkipTrue: uint8(len(body))},
		}, body)
	}
	if c.when != 0 {
		body = onlyIf(offsetArgs, c.when, body)
	}
	return onlyIf(offsetNumber, c.call, body)
}

// onlyIf jumps over body unless a field has a value.
func onlyIf(field, value uint32, body []bpf.Instruction) []bpf.Instruction {
	return slices.Concat([]bpf.Instruction{
		load(field),
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: value, SkipTrue: uint8(len(body))},
	}, body)
}
