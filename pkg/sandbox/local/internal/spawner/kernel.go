package spawner

import (
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/cgroup"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/rawclone"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/seccomp"
)

// walls are the parts of a sandbox's walls that processes put up around themselves.
type walls struct {
	filters  map[wall][]unix.SockFilter
	landlock int // a ruleset, or -1
}

// wall is what sandboxes differ in.
type wall struct {
	stays  bool // its files may outlive it
	pinned bool // few cores are its limit
}

func newWalls(groups *cgroup.Manager) (*walls, error) {
	w := &walls{filters: map[wall][]unix.SockFilter{}, landlock: scopeRuleset()}
	pinned := []bool{false}
	if !groups.Enforces("cpu") {
		pinned = append(pinned, true)
	}
	for _, pin := range pinned {
		for _, stays := range []bool{false, true} {
			f, err := seccomp.Filter(seccomp.Options{NoMemfd: !groups.Enforces("memory"), NoSetID: stays, NoAffinity: pin})
			if err != nil {
				return nil, err
			}
			w.filters[wall{stays, pin}] = f
		}
	}
	return w, nil
}

// scopeRuleset makes a Landlock ruleset that keeps processes from the abstract unix sockets of others, which are not in
// the file system but belong to the network namespace. It is -1 where the kernel is older than Linux 6.12, or has no
// Landlock.
func scopeRuleset() int {
	const version, scopeAbstractUnix = 1, 1
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, version)
	if errno != 0 || abi < 6 {
		return -1
	}
	attr := struct{ fs, net, scoped uint64 }{scoped: scopeAbstractUnix}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return -1
	}
	return int(fd)
}

// ScopesAbstractSockets says whether sandboxes on the host's network are kept from the abstract unix sockets of others.
func ScopesAbstractSockets() bool {
	fd := scopeRuleset()
	if fd < 0 {
		return false
	}
	unix.Close(fd)
	return true
}

// put adds the calls that put a process behind the walls, for good. pinned says that few cores are its limit.
func (w *walls) put(p *rawclone.Program, spec *sandbox.Spec, pinned bool) {
	if spec.Network == sandbox.NetworkHost && w.landlock >= 0 {
		p.Call("landlock", unix.SYS_LANDLOCK_RESTRICT_SELF, w.landlock, 0)
	}
	filter := w.filters[wall{
		stays:  slices.ContainsFunc(spec.Local.Mounts, func(m sandbox.Mount) bool { return m.Writable }),
		pinned: pinned,
	}]
	// struct sock_fprog: the number of instructions, and where they are.
	program := struct {
		n      uint16
		filter uintptr
	}{uint16(len(filter)), p.Data(unsafe.Slice((*byte)(unsafe.Pointer(&filter[0])), len(filter)*int(unsafe.Sizeof(filter[0]))))}
	p.Call("seccomp", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, rawclone.Bytes(&program))
}
