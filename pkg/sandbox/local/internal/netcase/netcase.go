// Package netcase connects sandboxes that have a network namespace each, so that those of one group reach each other by
// IPv4 and nothing else: each group has a hub, a network namespace of its own that holds a bridge and no process, and
// each sandbox has one veth into it. There is no route, no uplink and no address in the hub, so nothing leads out. All
// of it lives as long as its namespaces: when the process that holds the Hubs and the sandboxes die, the kernel removes
// everything. Making the sandbox's network namespace is the caller's.
package netcase

import (
	"fmt"
	"net/netip"
	"sync"
)

// Hubs connects sandboxes by group. The zero value is ready. Its methods may be called from many goroutines.
type Hubs struct {
	mu   sync.Mutex
	hubs map[string]*hub
}

// Member is a sandbox's place in its group.
type Member struct {
	// Addr is the address under which the others of the group reach the sandbox.
	Addr netip.Addr

	leave func()
}

// Join gives the network namespace that netns refers to (a descriptor of /proc/PID/ns/net) an interface eth0 with an
// address in the group, and brings it and the loopback up. When it returns, connections between it and the members
// that joined before work. The caller needs CAP_NET_ADMIN and CAP_SYS_ADMIN over that namespace and in its own user
// namespace. Its threads stay in their network namespaces.
func (h *Hubs) Join(group string, netns int) (*Member, error) {
	hub := h.enter(group)
	n, err := hub.connect(netns)
	if err != nil {
		h.leave(group, hub)
		return nil, fmt.Errorf("network of group %q: %w", group, err)
	}
	return &Member{Addr: address(n), leave: sync.OnceFunc(func() { h.leave(group, hub) })}, nil
}

// Leave says that the sandbox is gone; its interface goes with its network namespace. The last member's takes the hub
// down. It is safe to call twice.
func (m *Member) Leave() { m.leave() }

// Close takes all hubs down; what is still connected is cut off.
func (h *Hubs) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, hub := range h.hubs {
		hub.close()
		delete(h.hubs, name)
	}
}

// enter returns the group's hub and counts the caller as a user of it.
func (h *Hubs) enter(group string) *hub {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hubs == nil {
		h.hubs = map[string]*hub{}
	}
	if h.hubs[group] == nil {
		h.hubs[group] = &hub{}
	}
	h.hubs[group].users++
	return h.hubs[group]
}

func (h *Hubs) leave(group string, u *hub) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if u.users--; u.users == 0 && h.hubs[group] == u {
		delete(h.hubs, group)
		u.close()
	}
}

// Groups cannot see each other, so all use the same network: 10.77.0.0/16. A group's n-th member, counted from 1, has
// the n-th address; none is given twice.
const (
	prefixBits = 16
	maxMembers = 1<<(32-prefixBits) - 2
)

func address(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 77, byte(n >> 8), byte(n)})
}
