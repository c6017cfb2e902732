package local

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// TestLeftovers has sandboxes follow each other in one run, where the later one gets control groups and a network
// namespace that the earlier one had: of what that one did, whatever it was, nothing is to be noticed.
func TestLeftovers(t *testing.T) {
	ctx := context.Background()
	p := open(t, sandbox.Run{ID: runID(t), Dir: t.TempDir()})
	t.Cleanup(func() {
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	spec := sandbox.Spec{Limits: sandbox.Limits{Memory: 96 << 20, Disk: 32 << 20, PIDs: 24}}
	// in runs a program in a sandbox of its own; one that is not meant to stop by itself is released.
	in := func(program string, endless bool) (string, sandbox.Result) {
		t.Helper()
		sb, err := p.Acquire(ctx, spec)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		cmd := sandbox.Command{Argv: []string{"/usr/bin/python3", "-c", "import os, socket, sys\n" + program}}
		if endless {
			stop := make(chan struct{})
			close(stop)
			cmd.Stop = stop
		}
		res, err := sb.Exec(ctx, cmd, &out, &out)
		if err != nil {
			t.Fatal(err)
		}
		if err := sb.Release(ctx); err != nil {
			t.Fatal(err)
		}
		return out.String(), res
	}
	// What it says depends on all that could be left, and not on anything else.
	const look = `
import resource
threads = []
try:
    while len(threads) < 100:
        pid = os.fork()
        if pid == 0:
            import signal
            signal.pause()
        threads.append(pid)
except OSError: pass
print("processes", len(threads))
for pid in threads: os.kill(pid, 9); os.waitpid(pid, 0)
blocks = []
for i in range(64): blocks.append(b"x" * (1 << 20))
print("memory")
del blocks
for name in ["dev", "sockstat", "snmp", "netstat", "snmp6", "unix", "tcp", "udp", "ip6_flowlabel", "if_inet6", "route"]:
    try: text = open("/proc/net/" + name).read()
    except OSError: continue
    if name == "sockstat": text = text.splitlines()[0] # the rest is of the whole machine, in part
    print(name, text)
for name in ["shm", "sem", "msg"]: print(len(open("/proc/sysvipc/" + name).readlines()))
l = socket.socket(); l.bind(("127.0.0.1", 8080)); l.listen()
s = socket.socket(socket.AF_UNIX); s.bind("\0name")
print(sorted(os.listdir("/tmp") + os.listdir(".") + os.listdir("/dev/shm")), [p for p in os.listdir("/proc") if p.isdigit()])
`
	first, res := in(look, false)
	if res.Exit != 0 {
		t.Fatalf("%+v: %s", res, first)
	}
	for name, program := range map[string]string{
		"nothing":        "",
		"memory":         "b = []\nwhile True: b.append(bytearray(1 << 20))",
		"many processes": "while True:\n    try: os.fork()\n    except OSError: break\nimport time; time.sleep(60)",
		"a full disk":    "open('x', 'wb').write(b'x' * (31 << 20)); open('/dev/shm/x', 'w')",
		"a daemon": `
if os.fork() == 0:
    os.setsid()
    s = socket.socket(); s.bind(("127.0.0.1", 8080)); s.listen()
    a = socket.socket(socket.AF_UNIX); a.bind("\0name"); a.listen()
    import time; time.sleep(60)`,
		"connections": `
l = socket.socket(); l.bind(("127.0.0.1", 8080)); l.listen()
c = socket.create_connection(("127.0.0.1", 8080)); a, _ = l.accept(); c.close(); a.close()`,
		"sockets that hold each other": `
a, b = socket.socketpair(); s = socket.socket(socket.AF_UNIX); s.bind("\0name")
socket.send_fds(a, [b"x"], [b.fileno(), s.fileno()]); socket.send_fds(b, [b"x"], [a.fileno(), s.fileno()])`,
		"multicast groups": `
import struct
for i in range(20):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(0, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("239.1.2.%d" % i) + socket.inet_aton("127.0.0.1"))
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(41, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, "ff02::1234") + struct.pack("@I", 1))`,
		"shared memory": `
import ctypes
libc = ctypes.CDLL(None)
print(libc.shmat(libc.shmget(0, 24 << 20, 0o1600), None, 0)); libc.semget(0, 10, 0o1600); libc.msgget(0, 0o1600)`,
	} {
		t.Run(name, func(t *testing.T) {
			endless := strings.Contains(program, "sleep(60)") && !strings.Contains(program, "setsid")
			if out, res := in(program, endless); strings.Contains(out, "Traceback") && name != "memory" {
				t.Errorf("%+v: %s", res, out)
			}
			time.Sleep(150 * time.Millisecond) // namespaces are looked at after a while
			for range 2 {                      // a control group or a namespace of one that came earlier may be the first to be used again
				if _, res := in("sys.exit(3)", false); res.Exit != 3 || res.Limit != sandbox.LimitNone {
					t.Errorf("the next one: %+v", res)
				}
				if then, _ := in(look, false); then != first {
					t.Errorf("the next one is not like the first:\n%s", cmp.Diff(first, then))
				}
			}
		})
	}
	if t.Failed() {
		return
	}
	// That was of sandboxes that do use what others had.
	seen := map[string]bool{}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		ns := namespace(t, p, spec)
		if seen[ns] {
			break
		}
		if seen[ns] = true; time.Now().After(end) {
			t.Fatalf("%d sandboxes that did nothing, and no network namespace was used again", len(seen))
		}
	}
}

// namespace returns the name of the network namespace that a sandbox has.
func namespace(t *testing.T, p sandbox.Provider, spec sandbox.Spec) string {
	t.Helper()
	ctx := context.Background()
	sb, err := p.Acquire(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"readlink", "/proc/self/ns/net"}}, &out, nil); err != nil {
		t.Fatal(err)
	}
	if err := sb.Release(ctx); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(out.String())
}

func TestLeftoversAsOrdinaryUser(t *testing.T) { asOrdinaryUser(t, "TestLeftovers") }
