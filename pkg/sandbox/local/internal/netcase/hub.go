package netcase

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hub is a network namespace with a bridge.
type hub struct {
	users int // guarded by Hubs.mu

	mu     sync.Mutex
	handle *netlink.Handle // its socket is what keeps the namespace; nil until the first member
	bridge int             // the bridge's index
	last   int             // the number of the member that came last
}

const (
	bridgeName = "hub"
	innerName  = "eth0"
)

// connect gives the sandbox the next number and makes a veth pair with one end in the bridge, the other in the sandbox.
func (h *hub) connect(sandbox int) (int, error) {
	n, err := h.plug(sandbox)
	if err != nil {
		return 0, err
	}
	err = inNetns(sandbox, func() error { return configure(n) })
	if err == nil {
		err = awaitUp(func() (netlink.Link, error) { return h.port(n) }) // else the bridge drops what is for the sandbox
	}
	if err != nil {
		return 0, fmt.Errorf("interface of member %d: %w", n, err)
	}
	return n, nil
}

// port is the end of a member's veth pair that is in the bridge.
func (h *hub) port(n int) (netlink.Link, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.handle == nil {
		return nil, errors.New("the group's network is closed")
	}
	return h.handle.LinkByName(portName(n))
}

func portName(n int) string { return "p" + strconv.Itoa(n) }

func (h *hub) plug(sandbox int) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.handle == nil {
		if err := inNetns(newNetns, h.open); err != nil {
			return 0, fmt.Errorf("hub: %w", err)
		}
	}
	if h.last == maxMembers {
		return 0, fmt.Errorf("it has had %d members", maxMembers)
	}
	h.last++
	attrs := netlink.NewLinkAttrs()
	attrs.Name = portName(h.last)
	attrs.MasterIndex = h.bridge
	attrs.Flags = net.FlagUp
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: innerName, PeerNamespace: netlink.NsFd(sandbox), PeerHardwareAddr: hardwareAddr(h.last)}
	if err := h.handle.LinkAdd(veth); err != nil {
		return 0, fmt.Errorf("veth pair: %w", err)
	}
	return h.last, nil
}

// hardwareAddr is a locally administered address, the same in every run.
func hardwareAddr(n int) net.HardwareAddr {
	return net.HardwareAddr{0x02, 0x73, 0x62, 0x78, byte(n >> 8), byte(n)}
}

// open makes the bridge in the network namespace of this thread. The bridge has no address: nobody in the group can
// speak with the hub itself.
func (h *hub) open() error {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = bridgeName
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := handle.LinkAdd(bridge); err != nil {
		handle.Close()
		return fmt.Errorf("bridge: %w", err)
	}
	link, err := handle.LinkByName(bridgeName)
	if err == nil {
		err = upWithoutIPv6(handle, link)
	}
	if err != nil {
		handle.Close()
		return fmt.Errorf("bridge: %w", err)
	}
	h.handle, h.bridge = handle, link.Attrs().Index
	return nil
}

// close lets go of the namespace, which the kernel then removes with all that is in it.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.handle != nil {
		h.handle.Close()
		h.handle = nil
	}
}

// upTimeout bounds the wait for the kernel to let packets through an interface that was brought up. It may be late by a
// second, and more where the machine is busy.
const upTimeout = 10 * time.Second

// configure brings the interfaces of this thread's network namespace up.
func configure(n int) error {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer handle.Close()
	link, err := handle.LinkByName(innerName)
	if err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: address(n).AsSlice(), Mask: net.CIDRMask(prefixBits, 32)}}
	if err := handle.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("address: %w", err)
	}
	if err := upWithoutIPv6(handle, link); err != nil {
		return err
	}
	if err := LoopbackUp(); err != nil {
		return err
	}
	return awaitUp(func() (netlink.Link, error) { return handle.LinkByIndex(link.Attrs().Index) })
}

// awaitUp waits until packets get through a link. Its carrier is noticed by a worker of the kernel, for each end of a veth
// pair by itself; what is sent before that is dropped, and a dropped ARP request costs a second.
func awaitUp(get func() (netlink.Link, error)) error {
	for end := time.Now().Add(upTimeout); ; time.Sleep(200 * time.Microsecond) {
		l, err := get()
		if err != nil {
			return err
		}
		if l.Attrs().OperState == netlink.OperUp {
			return nil
		}
		if time.Now().After(end) {
			return errors.New("it did not come up")
		}
	}
}

// upWithoutIPv6 brings a link up without an IPv6 address of its own, where the kernel has IPv6 at all.
func upWithoutIPv6(handle *netlink.Handle, link netlink.Link) error {
	const addrGenModeNone = 1
	err := handle.LinkSetIP6AddrGenMode(link, addrGenModeNone)
	if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("turn IPv6 off: %w", err)
	}
	return handle.LinkSetUp(link)
}
