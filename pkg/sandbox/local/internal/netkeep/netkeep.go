// Package netkeep keeps network namespaces in which nothing has happened, to be used again: the kernel takes longer to
// make one, and above all to clear it away, than for the other namespaces and the mounts of a sandbox together.
//
// Nothing has happened means that no socket is left, that no packet was ever sent, not even to the loopback device, and
// that every count of the network's protocols is what it is in a namespace that was just made. So there is no connection
// that lingers, no route or address learned, and nothing to be read of who was there before. What shows only later is
// waited for. Whether processes that were in a namespace have ended is the caller's to know; that they could not configure
// it, too.
package netkeep

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// evidence are the files in which it would show that something has happened, of proc_pid_net(5). Those of IPv6, the last
// two, are not there without it.
var evidence = []string{"sockstat", "dev", "snmp", "netstat", "snmp6", "ip6_flowlabel"}

// optional is the first of evidence that need not be there.
const optional = 4

// Namespace is a network namespace and what it was like when it was new.
type Namespace struct {
	FD    int // for setns; it stays the Namespace's
	files []int
	fresh [][]byte
}

// Of returns the network namespace of a process, in which nothing has happened yet.
func Of(pid int) (*Namespace, error) {
	ns := &Namespace{}
	var err error
	if ns.FD, err = unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	for i, name := range evidence {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/net/%s", pid, name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOENT) && i >= optional {
			continue
		}
		if err == nil {
			ns.files = append(ns.files, fd)
			var text []byte
			text, err = read(fd, make([]byte, most))
			ns.fresh = append(ns.fresh, bytes.Clone(text))
		}
		if err != nil {
			ns.Close()
			return nil, fmt.Errorf("network namespace: %s: %w", name, err)
		}
	}
	return ns, nil
}

// Untouched says whether the namespace is as it was when it was new.
func (ns *Namespace) Untouched() bool {
	buf := make([]byte, most)
	for i, fd := range ns.files {
		if text, err := read(fd, buf); err != nil || !bytes.Equal(text, ns.fresh[i]) {
			return false
		}
	}
	return true
}

// Close gives the namespace up.
func (ns *Namespace) Close() {
	for _, fd := range append(ns.files, ns.FD) {
		unix.Close(fd)
	}
}

// most is how long a file of evidence may be. The longest has 4 KiB.
const most = 16 << 10

// read reads a file of the kernel from its beginning into buf. In sockstat what is not the namespace's own is left out.
func read(fd int, buf []byte) ([]byte, error) {
	n := 0
	for n < len(buf) {
		m, err := unix.Pread(fd, buf[n:], int64(n))
		if err != nil && err != unix.EINTR {
			return nil, err
		}
		if err == nil && m == 0 {
			return own(buf[:n]), nil
		}
		n += max(m, 0)
	}
	return nil, unix.EFBIG
}

// own cuts the parts out of sockstat that count for the whole machine: what TCP, UDP and fragments take of memory, and
// the TCP sockets that belong to no process or to any.
func own(text []byte) []byte {
	if !bytes.HasPrefix(text, []byte("sockets:")) {
		return text
	}
	var kept [][]byte
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		for i := 1; i+1 < len(fields); i += 2 {
			switch string(fields[i]) {
			case "orphan", "alloc", "mem", "memory":
			default:
				kept = append(kept, fields[0], fields[i], fields[i+1])
			}
		}
	}
	return bytes.Join(kept, []byte(" "))
}

// Spares are namespaces that wait to be used again.
type Spares struct {
	mu      sync.Mutex
	free    []*Namespace
	resting int // in Put
}

// maxFree bounds how many are kept, with those that rest.
const maxFree = 64

// Get returns one, or nil.
func (s *Spares) Get() *Namespace {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.free)
	if n == 0 {
		return nil
	}
	ns := s.free[n-1]
	s.free = s.free[:n-1]
	return ns
}

// settle is how long a namespace rests before it is looked at. Of a multicast group that was joined, and left by the end
// of its socket, nothing is counted until the kernel reports it, two ticks of its clock later, and again up to a second
// after that.
const settle = 60 * time.Millisecond

// Put takes a namespace whose processes have ended, to be kept if it is untouched and else closed, which takes a while.
func (s *Spares) Put(ns *Namespace) {
	s.mu.Lock()
	room := s.resting+len(s.free) < maxFree
	if room {
		s.resting++
	}
	s.mu.Unlock()
	if !room {
		ns.Close()
		return
	}
	time.Sleep(settle)
	untouched := ns.Untouched()
	s.mu.Lock()
	s.resting--
	if untouched {
		s.free = append(s.free, ns)
	}
	s.mu.Unlock()
	if !untouched {
		ns.Close()
	}
}
