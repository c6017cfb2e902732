package seccomp

import (
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// meaning is what the lists say of a call, read one entry after the other: what the program, which searches, has to answer.
func meaning(o Options, arch, number uint32, args []uint64) uint32 {
	low := func(i uint32) uint32 { return uint32(args[i]) }
	switch {
	case arch != auditArch, len(foreignNumbers) > 0 && number >= 1<<30 && number < 1<<31:
		return dead
	case slices.Contains(absent, number), o.NoSetID && number == unix.SYS_OPENAT2:
		return errno(unix.ENOSYS)
	case slices.Contains(refused, number), slices.Contains(refusedHere, number), o.NoMemfd && number == unix.SYS_MEMFD_CREATE,
		o.NoAffinity && number == unix.SYS_SCHED_SETAFFINITY:
		return errno(unix.EPERM)
	}
	all := checks
	if o.NoSetID {
		all = slices.Concat(checks, setID, setIDHere)
	}
	for _, c := range all {
		value := low(c.arg)
		if c.mask != 0 {
			value &= c.mask
		}
		switch {
		case c.call != number, c.when != 0 && low(0) != c.when, c.ifBits != 0 && low(c.ifArg)&c.ifBits == 0:
		case c.only != nil && !slices.Contains(c.only, value), slices.Contains(c.except, value):
			return errno(c.answer)
		}
	}
	return pass
}

// Every number has the answer that the lists give it, with every value of an argument that any of them names, and with
// those beside it.
func TestSearchFindsWhatTheListsSay(t *testing.T) {
	numbers := []uint32{1 << 30, 1<<30 + unix.SYS_READ, 1<<30 + unix.SYS_SETNS, 1<<31 - 1, 1 << 31, 1<<31 + unix.SYS_SETNS, 1<<32 - 1}
	for n := range uint32(1100) {
		numbers = append(numbers, n)
	}
	values := []uint32{0, 1, 0x80, 1 << 31, 1<<32 - 1}
	for _, c := range slices.Concat(checks, setID, setIDHere) {
		for _, v := range slices.Concat(c.only, c.except, []uint32{c.when}) {
			values = append(values, v, v+1, v-1, v|unix.SOCK_CLOEXEC)
		}
		for _, bits := range []uint32{c.mask, c.ifBits} {
			for i := range 32 {
				if bits&(1<<i) != 0 {
					values = append(values, 1<<i, 1<<i|1)
				}
			}
		}
	}
	slices.Sort(values)
	values = slices.Compact(values)
	for _, o := range []Options{{}, {NoMemfd: true}, {NoSetID: true}, {NoMemfd: true, NoSetID: true, NoAffinity: true}} {
		vm, err := bpf.NewVM(program(o))
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, 64)
		same := func(arch, number uint32, args ...uint64) {
			binary.BigEndian.PutUint32(data, number)
			binary.BigEndian.PutUint32(data[4:], arch)
			for i, a := range args {
				binary.BigEndian.PutUint32(data[16+8*i:], uint32(a))
				binary.BigEndian.PutUint32(data[20+8*i:], uint32(a>>32))
			}
			if got, err := vm.Run(data); err != nil || uint32(got) != meaning(o, arch, number, args) {
				t.Fatalf("%+v: architecture %#x, call %d %#x: %#x, %v, want %#x", o, arch, number, args, got, err, meaning(o, arch, number, args))
			}
		}
		looked := func(n uint32) bool {
			return slices.ContainsFunc(slices.Concat(checks, setID, setIDHere), func(c check) bool { return c.call == n })
		}
		for _, n := range numbers {
			same(auditArch, n, 0, 0, 0, 0)
			same(auditArch, n, 1<<64-1, 1<<64-1, 1<<64-1, 1<<64-1)
			for _, arch := range []uint32{0, unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_ARM, auditArch ^ 1, 1<<32 - 1} {
				same(arch, n, 0, 0, 0, 0)
			}
			if !looked(n) {
				continue
			}
			for _, a := range values {
				for _, b := range values {
					same(auditArch, n, uint64(a), uint64(b), uint64(a), uint64(b))
					same(auditArch, n, uint64(a)|high, uint64(b)|high, uint64(b), uint64(a)|high)
					same(auditArch, n, unix.AF_NETLINK, uint64(a), uint64(b), uint64(a))
				}
			}
		}
	}
}
