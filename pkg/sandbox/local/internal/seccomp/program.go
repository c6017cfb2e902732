package seccomp

import (
	"maps"
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

var (
	kill  = bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS}
	allow = bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
)

// program is the whole filter: what is no call of this architecture, then a search for the number among those that are not
// let through, whatever their arguments.
//
// The kernel runs it for every number when it is installed, to know which calls come to the same end whatever their
// arguments (since Linux 5.11). With a list in place of the search that is most of what a command costs.
func program(o Options) []bpf.Instruction {
	p := []bpf.Instruction{load(offsetArch), bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1}, kill}
	p = append(p, foreignNumbers...)
	p = append(p, load(offsetNumber))
	return append(p, search(rules(o))...)
}

// rule is what happens to a call.
type rule struct {
	call uint32
	body []bpf.Instruction // ends with an answer
}

// rules returns those of all calls that are not simply let through, by number.
func rules(o Options) []rule {
	bodies := map[uint32][]bpf.Instruction{}
	for _, call := range absent {
		bodies[call] = []bpf.Instruction{answer(unix.ENOSYS)}
	}
	for _, call := range slices.Concat(refused, refusedHere) {
		bodies[call] = []bpf.Instruction{answer(unix.EPERM)}
	}
	if o.NoMemfd {
		bodies[unix.SYS_MEMFD_CREATE] = []bpf.Instruction{answer(unix.EPERM)}
	}
	if o.NoAffinity {
		bodies[unix.SYS_SCHED_SETAFFINITY] = []bpf.Instruction{answer(unix.EPERM)}
	}
	all := checks
	if o.NoSetID {
		bodies[unix.SYS_OPENAT2] = []bpf.Instruction{answer(unix.ENOSYS)}
		all = slices.Concat(checks, setID, setIDHere)
	}
	for _, c := range all {
		bodies[c.call] = append(bodies[c.call], c.compile()...)
	}
	for _, c := range all {
		if b := bodies[c.call]; b[len(b)-1] != allow {
			bodies[c.call] = append(b, allow)
		}
	}
	var list []rule
	for _, call := range slices.Sorted(maps.Keys(bodies)) {
		list = append(list, rule{call, bodies[call]})
	}
	return list
}

// search looks for the number that was loaded among those of rules, which are in order. Every way through it ends with an
// answer.
func search(rules []rule) []bpf.Instruction {
	if len(rules) <= few && alike(rules) {
		var p []bpf.Instruction
		for i, r := range rules {
			p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: r.call, SkipTrue: uint8(len(rules) - i)})
		}
		return slices.Concat(p, []bpf.Instruction{allow}, rules[0].body)
	}
	half := len(rules) / 2
	below, rest := search(rules[:half]), search(rules[half:])
	return slices.Concat([]bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: rules[half].call, SkipTrue: 1},
		bpf.Jump{Skip: uint32(len(below))},
	}, below, rest)
}

// few is how many numbers are compared one after the other, which makes the program short. Its length costs time too.
const few = 4

// alike says whether the same happens to all calls.
func alike(rules []rule) bool {
	return !slices.ContainsFunc(rules, func(r rule) bool { return !slices.Equal(r.body, rules[0].body) })
}

// compile makes the part of a body that refuses calls or goes on to what follows.
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
	return body
}

// onlyIf jumps over body unless a field has a value.
func onlyIf(field, value uint32, body []bpf.Instruction) []bpf.Instruction {
	return slices.Concat([]bpf.Instruction{
		load(field),
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: value, SkipTrue: uint8(len(body))},
	}, body)
}
