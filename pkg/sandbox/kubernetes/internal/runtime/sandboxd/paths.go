package sandboxd

import (
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
)

// Paths remembers where the addresses of pods do not lead to the daemon: it listens on loopback (v0.5 does), or a network
// policy is in the way, which shows only by a time limit. The pods of one namespace are alike in that. The zero value
// is ready, and shared by the transports of a run.
type Paths struct {
	forward sync.Map // place -> struct{}
}

type place struct {
	namespace string
	port      int
}

// shorten leaves out the addresses of a target where they are of no use.
func (p *Paths) shorten(t connect.Target) connect.Target {
	if _, known := p.forward.Load(place{t.Namespace, t.Port}); known {
		t.PodIPs = nil
	}
	return t
}

// learn looks at which way a connection came about.
func (p *Paths) learn(t connect.Target, conn net.Conn) {
	if len(t.PodIPs) == 0 {
		return
	}
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		ip := a.AddrPort().Addr().Unmap()
		if slices.ContainsFunc(t.PodIPs, func(s string) bool { x, err := netip.ParseAddr(s); return err == nil && x.Unmap() == ip }) {
			return
		}
	}
	p.forward.Store(place{t.Namespace, t.Port}, struct{}{})
}
