package netcase

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests need capabilities over network namespaces. Root has them; as an ordinary user the test binary runs itself
// again in a user namespace, as the spawner does.
const nested = "SBXRUN_NETCASE_NESTED"

func TestMain(m *testing.M) {
	if os.Getuid() == 0 || os.Getenv(nested) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), nested+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestOrdinaryUser runs all of this as an ordinary user too.
func TestOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 || os.Getenv(nested) != "" {
		return // this is that run
	}
	cmd := exec.Command("/proc/self/exe", "-test.v")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// sandbox is a network namespace without a process.
func sandbox(t *testing.T) int {
	t.Helper()
	fd := -1
	err := inNetns(newNetns, func() (err error) {
		fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func join(t *testing.T, h *Hubs, group string) (*Member, int) {
	t.Helper()
	ns := sandbox(t)
	m, err := h.Join(group, ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Leave)
	return m, ns
}

// listen serves "NAME\n" on all addresses of a namespace, on port 8080.
func listen(t *testing.T, ns int, name string) {
	t.Helper()
	var l net.Listener
	if err := inNetns(ns, func() (err error) { l, err = net.Listen("tcp4", ":8080"); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, name)
			c.Close()
		}
	}()
}

// dial returns what a server says, over a connection made in ns.
func dial(ns int, network, addr string) (said string, err error) {
	err = inNetns(ns, func() error {
		// The socket belongs to the namespace of the thread that makes it: no other goroutine may.
		c, err := (&net.Dialer{Timeout: 3 * time.Second, FallbackDelay: -1}).Dial(network, addr)
		if err != nil {
			return err
		}
		defer c.Close()
		b, err := io.ReadAll(c)
		said = string(b)
		return err
	})
	return said, err
}

func TestMembersOfOneGroupReachEachOther(t *testing.T) {
	var h Hubs
	a, ans := join(t, &h, "g")
	b, bns := join(t, &h, "g")
	c, cns := join(t, &h, "g")
	listen(t, ans, "a")
	listen(t, bns, "b")
	listen(t, cns, "c")
	if a.Addr == b.Addr || b.Addr == c.Addr {
		t.Fatalf("addresses %v %v %v", a.Addr, b.Addr, c.Addr)
	}
	for _, from := range []int{ans, bns, cns} {
		for name, to := range map[string]string{"a": a.Addr.String(), "b": b.Addr.String(), "c": c.Addr.String()} {
			start := time.Now()
			said, err := dial(from, "tcp4", to+":8080")
			if err != nil || said != name {
				t.Errorf("to %s: %q, %v", name, said, err)
			}
			if d := time.Since(start); d > 900*time.Millisecond {
				t.Errorf("to %s: %v; the first packet was lost", name, d)
			}
		}
		if said, err := dial(from, "tcp4", "127.0.0.1:8080"); err != nil || len(said) != 1 {
			t.Errorf("loopback: %q, %v", said, err)
		}
	}
}

func TestGroupsAreApart(t *testing.T) {
	var h Hubs
	_, ans := join(t, &h, "one")
	a2, a2ns := join(t, &h, "one")
	b, bns := join(t, &h, "two") // has the address of the first of group one
	listen(t, a2ns, "one")
	listen(t, bns, "two")
	if said, err := dial(ans, "tcp4", a2.Addr.String()+":8080"); said != "one" {
		t.Errorf("within a group: %q, %v", said, err)
	}
	if b.Addr.String() != "10.77.0.1" {
		t.Errorf("the first member's address is %v", b.Addr)
	}
	if said, err := dial(bns, "tcp4", a2.Addr.String()+":8080"); err == nil {
		t.Errorf("group two reached group one: %q", said)
	}
}

func TestNothingElseIsReached(t *testing.T) {
	outside, err := net.Listen("tcp", ":0") // the namespace of the tests
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	_, port, _ := net.SplitHostPort(outside.Addr().String())
	var h Hubs
	_, ns := join(t, &h, "g")
	targets := []string{"127.0.0.1:" + port, "10.77.255.254:" + port, "10.77.0.2:" + port, "192.0.2.1:80", "[::1]:" + port}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok {
			targets = append(targets, net.JoinHostPort(ip.IP.String(), port))
		}
	}
	for _, to := range targets {
		if _, err := dial(ns, "tcp", to); err == nil {
			t.Errorf("reached %s", to)
		}
	}
}

// What is in a sandbox's namespace: the loopback and one interface, one IPv4 address, no IPv6 but the loopback's, one route.
func TestNoRouteAndNoIPv6(t *testing.T) {
	var h Hubs
	_, ns := join(t, &h, "g")
	err := inNetns(ns, func() error {
		ifs, err := net.Interfaces()
		if err != nil {
			return err
		}
		for _, i := range ifs {
			addrs, err := i.Addrs()
			if err != nil {
				return err
			}
			for _, a := range addrs {
				if s := a.String(); s != "127.0.0.1/8" && s != "::1/128" && s != "10.77.0.1/16" {
					t.Errorf("%s has %s", i.Name, s)
				}
			}
			if i.Name == innerName && i.Flags&net.FlagUp == 0 {
				t.Error("eth0 is down")
			}
		}
		routes, err := os.ReadFile("/proc/thread-self/net/route")
		if n := strings.Count(string(routes), "\n"); n != 2 {
			t.Errorf("routes: %d lines\n%s", n, routes)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestHubHasNoAddress(t *testing.T) {
	var h Hubs
	join(t, &h, "g")
	hub := h.hubs["g"]
	addrs, err := hub.handle.AddrList(nil, unix.AF_UNSPEC)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if a.LinkIndex == hub.bridge {
			t.Errorf("the bridge has %v", a)
		}
	}
}

// The last one out takes the hub down, which shows by its veth vanishing from a namespace that stays.
func TestLastLeaveRemovesHub(t *testing.T) {
	var h Hubs
	m, ns := join(t, &h, "g")
	n, _ := join(t, &h, "g")
	m.Leave()
	m.Leave()
	if len(h.hubs) != 1 || h.hubs["g"].users != 1 {
		t.Fatalf("after one of two left: %v", h.hubs)
	}
	n.Leave()
	if len(h.hubs) != 0 {
		t.Fatalf("after all left: %v", h.hubs)
	}
	deadline := time.Now().Add(20 * time.Second) // the kernel removes namespaces in the background
	for {
		var found bool
		err := inNetns(ns, func() error {
			_, err := net.InterfaceByName(innerName)
			found = err == nil
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the hub is still there")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestJoinRefusesWhatIsNoNamespace(t *testing.T) {
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var h Hubs
	if _, err := h.Join("g", int(f.Fd())); err == nil {
		t.Error("no error")
	}
	if len(h.hubs) != 0 {
		t.Error("the hub stays though nobody joined")
	}
}

// A thread must never be left in another network namespace, whatever thread the work began on.
func TestThreadsStay(t *testing.T) {
	var h Hubs
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for range 8 {
		go func() {
			ns := -1
			err := inNetns(newNetns, func() (err error) {
				ns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
				return err
			})
			if err == nil {
				var m *Member
				if m, err = h.Join("g", ns); err == nil {
					m.Leave()
				}
				unix.Close(ns)
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	runtime.Gosched()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		ns, err := os.Readlink("/proc/self/task/" + task.Name() + "/ns/net")
		if err == nil && ns != before && !ending(task.Name(), before) {
			t.Errorf("thread %s is in %s, not %s", task.Name(), ns, before)
		}
	}
}

// ending waits for a thread whose goroutine has returned to end.
func ending(tid, home string) bool {
	for range 200 {
		ns, err := os.Readlink("/proc/self/task/" + tid + "/ns/net")
		if err != nil || ns == home {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

func BenchmarkJoinLeave(b *testing.B) {
	var h Hubs
	for b.Loop() {
		ns := -1
		if err := inNetns(newNetns, func() (err error) {
			ns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			return err
		}); err != nil {
			b.Fatal(err)
		}
		m, err := h.Join("g", ns)
		if err != nil {
			b.Fatal(err)
		}
		m.Leave()
		unix.Close(ns)
	}
}
