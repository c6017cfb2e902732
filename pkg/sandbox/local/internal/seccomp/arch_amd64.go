package seccomp

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const auditArch = unix.AUDIT_ARCH_X86_64

// refusedHere are calls that only this architecture has.
var refusedHere = []uint32{unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MODIFY_LDT, unix.SYS_USELIB}

// setIDHere are those of setID that only this architecture has.
var setIDHere = []check{
	{call: unix.SYS_CHMOD, arg: 1, mask: setIDBits, only: []uint32{0}, answer: unix.EPERM},
	{call: unix.SYS_CREAT, arg: 1, mask: setIDBits, only: []uint32{0}, answer: unix.EPERM},
	{call: unix.SYS_MKNOD, arg: 1, mask: setIDBits, only: []uint32{0}, answer: unix.EPERM},
	{call: unix.SYS_OPEN, ifArg: 1, ifBits: createBits, arg: 2, mask: setIDBits, only: []uint32{0}, answer: unix.EPERM},
}

// x32 marks the numbers of an ABI that has the same architecture but its own calls.
const x32 = 0x40000000

// foreignNumbers kills calls of x32. Negative numbers are calls of nothing and left to the kernel.
var foreignNumbers = []bpf.Instruction{
	load(offsetNumber),
	bpf.JumpIf{Cond: bpf.JumpLessThan, Val: x32, SkipTrue: 2},
	bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: 2 * x32, SkipTrue: 1},
	kill,
}
