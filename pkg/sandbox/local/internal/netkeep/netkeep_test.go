package netkeep

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/netcase"
)

// The test binary runs itself in a new network namespace, where it does as it is told, a line at a time.
const role = "SBXRUN_NETKEEP_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(role) == "" {
		os.Exit(m.Run())
	}
	if err := netcase.LoopbackUp(); err != nil {
		fmt.Println(err)
	}
	fmt.Println("ready")
	var line string
	_, _ = fmt.Scanln(&line) // or the end of the test
}

// namespace returns a new namespace, and a function that runs a Python program in it. The process that made it has ended
// when that returns.
func namespace(t *testing.T) (ns *Namespace, python func(program string)) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), role+"=namespace")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var line string
	if _, err := fmt.Fscanln(stdout, &line); err != nil || line != "ready" {
		t.Fatalf("%q, %v", line, err)
	}
	if ns, err = Of(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ns.Close)
	ended := false
	end := func() {
		if !ended {
			ended = true
			stdin.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(end)
	return ns, func(program string) {
		t.Helper()
		args := []string{fmt.Sprintf("--net=/proc/%d/ns/net", cmd.Process.Pid), "/usr/bin/python3", "-c", "import socket, struct, os\n" + program}
		if os.Getuid() != 0 {
			args = append([]string{fmt.Sprintf("--user=/proc/%d/ns/user", cmd.Process.Pid), "--preserve-credentials"}, args...)
		}
		if out, err := exec.Command("nsenter", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		end()
	}
}

// What leaves nothing behind leaves the namespace untouched, also when nobody is in it any more.
func TestUntouched(t *testing.T) {
	for name, program := range map[string]string{
		"nothing": "",
		"sockets that were closed": `
for f, k in [(socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET6, socket.SOCK_DGRAM), (socket.AF_UNIX, socket.SOCK_STREAM)]:
    socket.socket(f, k).close()
socket.socket().bind(("127.0.0.1", 80))`,
		"an abstract name that was closed": `s = socket.socket(socket.AF_UNIX); s.bind("\0name"); s.listen()`,
	} {
		t.Run(name, func(t *testing.T) {
			ns, python := namespace(t)
			python(program)
			if !ns.Untouched() {
				t.Errorf("it counts as touched\n%s", difference(ns))
			}
			time.Sleep(50 * time.Millisecond) // nor does anything happen by itself
			if !ns.Untouched() {
				t.Errorf("it counts as touched after a while\n%s", difference(ns))
			}
		})
	}
}

// Whatever leaves something behind, or tells of who was there before, keeps the namespace from being used again.
func TestTouched(t *testing.T) {
	for name, program := range map[string]string{
		"a datagram": `
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); s.sendto(b"x", s.getsockname())`,
		"a datagram of IPv6": `
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(("::1", 0)); s.sendto(b"x", s.getsockname())`,
		"a connection that lingers": `
l = socket.socket(); l.bind(("127.0.0.1", 8080)); l.listen()
c = socket.create_connection(("127.0.0.1", 8080)); a, _ = l.accept(); c.close(); a.close()`,
		"a connection that was refused": `
try: socket.create_connection(("127.0.0.1", 9))
except OSError: pass`,
		"an address that is nowhere": `
try: socket.create_connection(("192.0.2.1", 9))
except OSError: pass`,
		"a flow label": `
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(41, 32, socket.inet_pton(socket.AF_INET6, "::1") + struct.pack("!I", 0x12345) + struct.pack("=BBHHHI", 0, 255, 1, 6, 6, 0))`,
		"a multicast group, of which the kernel tells later": `
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(0, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("239.1.2.3") + socket.inet_aton("127.0.0.1"))`,
		"a multicast group of IPv6": `
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(41, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, "ff02::1234") + struct.pack("@I", 1))`,
		"a socket that a process outside got": `
if os.fork() == 0:
    import time
    s = socket.socket(); os.close(1); os.close(2); time.sleep(1); os._exit(0)
import time; time.sleep(0.2)`,
	} {
		t.Run(name, func(t *testing.T) {
			ns, python := namespace(t)
			python(program)
			var s Spares
			if s.Put(ns); s.Get() != nil {
				t.Error("it would be used again")
			}
			*ns = Namespace{FD: -1} // Put has closed it
		})
	}
}

func TestSpares(t *testing.T) {
	var s Spares
	if s.Get() != nil {
		t.Error("something of nothing")
	}
	ns, python := namespace(t)
	python("")
	kept := *ns
	s.Put(&kept)
	if got := s.Get(); got != &kept || s.Get() != nil {
		t.Errorf("%v came back", got)
	}
	var puts sync.WaitGroup
	for range maxFree + 1 {
		puts.Go(func() { s.Put(&Namespace{FD: -1}) })
	}
	puts.Wait()
	if len(s.free) != maxFree {
		t.Errorf("%d are kept", len(s.free))
	}
}

func difference(ns *Namespace) string {
	var b strings.Builder
	for i, fd := range ns.files {
		if text, err := read(fd, make([]byte, most)); err != nil || string(text) != string(ns.fresh[i]) {
			fmt.Fprintf(&b, "%s: %v\n%s\nwas\n%s\n", evidence[i], err, text, ns.fresh[i])
		}
	}
	return b.String()
}
