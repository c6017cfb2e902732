package sandboxtest

import (
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// serve is a script that answers connections on all addresses of a port with a word, for good.
const serve = `exec "$(command -v python3)" -c '
import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", int(sys.argv[1])))
s.listen(16)
print("up", flush=True)
while True:
    c, _ = s.accept()
    c.sendall(sys.argv[2].encode())
    c.close()
' `

// fetch is a script that prints what a host and port answer; it exits 7 where nothing does.
const fetch = `"$(command -v python3)" -c '
import socket, sys
try:
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)
    print(s.makefile().read())
except OSError as e:
    print(e, file=sys.stderr)
    sys.exit(7)
' `

// port is where servers listen.
const port = 8080

// listen starts a server in the sandbox.
func (b *box) listen(word string) {
	b.t.Helper()
	b.start(b.ctx, sandbox.Command{Argv: []string{"sh", "-c", fmt.Sprint(serve, port, " ", word)}}).await("up")
}

// fetches checks what the sandbox gets from a host and port; empty is nothing.
func (b *box) fetches(host string, port int, want string) {
	b.t.Helper()
	got := b.sh(fmt.Sprint(fetch, host, " ", port))
	if want == "" && got.Exit != 7 || want != "" && (got.Exit != 0 || got.stdout != want+"\n") {
		b.t.Errorf("%s port %d: %+v, stdout %q, stderr %q, want %q", host, port, got.Result, got.stdout, tail(got.stderr), want)
	}
}

// host is where others of the group reach the sandbox.
func (b *box) host() string {
	b.t.Helper()
	a, ok := b.Sandbox.(sandbox.Addressed)
	if !ok || a.Host() == "" {
		b.t.Fatal("the sandbox has no Host")
	}
	return a.Host()
}

// on acquires a sandbox on a network.
func (s *suite) on(t *testing.T, n sandbox.Network, group string) *box {
	t.Helper()
	spec := s.spec(t)
	spec.Network, spec.Group = n, t.Name()+group
	return s.boxWith(t, spec)
}

// networked is a check that needs the networks; where the provider lacks one, Acquire has to say so.
func networked(run func(*testing.T, *suite), networks ...sandbox.Network) func(*testing.T, *suite) {
	return func(t *testing.T, s *suite) {
		lacking := false
		for _, n := range networks {
			if slices.Contains(s.cfg.Networks, n) {
				continue
			}
			lacking = true
			spec := s.spec(t)
			spec.Network = n
			sb, err := s.provider.Acquire(deadline(t), spec)
			wantKind(t, fmt.Sprintf("acquire with network %q", n), err, sandbox.KindUnsupported)
			if err == nil {
				if err := sb.Release(deadline(t)); err != nil {
					t.Error(err)
				}
			}
		}
		if !lacking {
			run(t, s)
		}
	}
}

var networkChecks = []check{
	{"none has loopback", networked(func(t *testing.T, s *suite) {
		b := s.on(t, sandbox.NetworkNone, "")
		b.listen("self")
		b.fetches("127.0.0.1", 8080, "self")
		b.fetches("localhost", 8080, "self")
	}, sandbox.NetworkNone)},
	{"none does not reach the host", networked(func(t *testing.T, s *suite) {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprint(c, "the host")
				c.Close()
			}
		}()
		b := s.on(t, sandbox.NetworkNone, "")
		for _, host := range hostAddresses(t) {
			b.fetches(host, l.Addr().(*net.TCPAddr).Port, "")
		}
	}, sandbox.NetworkNone)},
	{"none does not reach another sandbox", networked(func(t *testing.T, s *suite) {
		server, b := s.on(t, sandbox.NetworkCase, "a"), s.on(t, sandbox.NetworkNone, "a")
		server.listen("server")
		b.fetches(server.host(), 8080, "")
	}, sandbox.NetworkNone, sandbox.NetworkCase)},
	{"two of none do not share loopback", networked(func(t *testing.T, s *suite) {
		a, b := s.on(t, sandbox.NetworkNone, "a"), s.on(t, sandbox.NetworkNone, "a")
		a.listen("a")
		b.fetches("127.0.0.1", 8080, "")
		b.listen("b")
		b.fetches("127.0.0.1", 8080, "b")
	}, sandbox.NetworkNone)},
	{"case reaches the group by Host", networked(func(t *testing.T, s *suite) {
		a, b := s.on(t, sandbox.NetworkCase, "a"), s.on(t, sandbox.NetworkCase, "a")
		if a.host() == b.host() {
			t.Fatalf("two sandboxes have the host %q", a.host())
		}
		a.listen("a")
		b.listen("b") // the same port, each on its own address
		a.fetches(b.host(), 8080, "b")
		b.fetches(a.host(), 8080, "a")
		a.fetches(a.host(), 8080, "a")
		a.fetches("127.0.0.1", 8080, "a")
	}, sandbox.NetworkCase)},
	{"case of three", networked(func(t *testing.T, s *suite) {
		a, b, c := s.on(t, sandbox.NetworkCase, "a"), s.on(t, sandbox.NetworkCase, "a"), s.on(t, sandbox.NetworkCase, "a")
		a.listen("a")
		b.fetches(a.host(), 8080, "a")
		b.release()
		c.fetches(a.host(), 8080, "a")
	}, sandbox.NetworkCase)},
	{"case does not reach another group", networked(func(t *testing.T, s *suite) {
		a, b := s.on(t, sandbox.NetworkCase, "a"), s.on(t, sandbox.NetworkCase, "b")
		a.listen("a")
		b.listen("b")
		if a.host() == b.host() {
			b.fetches(a.host(), 8080, "b") // addresses may repeat from group to group
			return
		}
		b.fetches(a.host(), 8080, "")
		a.fetches(b.host(), 8080, "")
	}, sandbox.NetworkCase)},
	{"case does not reach the host", networked(func(t *testing.T, s *suite) {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		b := s.on(t, sandbox.NetworkCase, "a")
		for _, host := range hostAddresses(t) {
			b.fetches(host, l.Addr().(*net.TCPAddr).Port, "")
		}
	}, sandbox.NetworkCase)},
	{"host is the host's network", networked(func(t *testing.T, s *suite) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			if c, err := l.Accept(); err == nil {
				fmt.Fprint(c, "host")
				c.Close()
			}
		}()
		s.on(t, sandbox.NetworkHost, "").fetches("127.0.0.1", l.Addr().(*net.TCPAddr).Port, "host")
	}, sandbox.NetworkHost)},
}

// hostAddresses are the addresses of this machine as python takes them.
func hostAddresses(t *testing.T) []string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLinkLocalUnicast() {
			list = append(list, ip.IP.String())
		}
	}
	return list
}
