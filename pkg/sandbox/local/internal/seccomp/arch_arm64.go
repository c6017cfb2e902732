package seccomp

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const auditArch = unix.AUDIT_ARCH_AARCH64

// This architecture has no calls of its own, and one ABI.
var (
	refusedHere    []uint32
	foreignNumbers []bpf.Instruction
	setIDHere      []check
)
