package local

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// python runs a program that prints what it could do that it should not; nothing is a pass.
func python(t *testing.T, spec sandbox.Spec, program string) {
	t.Helper()
	out, res := run(t, spec, "exec /usr/bin/python3 - <<'END'\nimport ctypes, os, socket, fcntl, struct, sys\nlibc = ctypes.CDLL(None, use_errno=True)\n"+
		"def sc(*a):\n    r = libc.syscall(*a); return r, ctypes.get_errno()\n"+program+"\nEND\n")
	if out != "" || res.Exit != 0 {
		t.Errorf("%+v: %s", res, out)
	}
}

func TestAttackFiles(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	wd, err := os.Getwd()
	if err != nil || wd == "/" {
		wd = filepath.Dir(secret)
	}
	// Of an ordinary user the sandbox has the same id as what made it: there this harms nothing but the sandbox itself.
	roots := ""
	if os.Geteuid() == 0 {
		roots = `, "/proc/1/oom_score_adj"`
	}
	python(t, sandbox.Spec{}, fmt.Sprintf(`
for p in ["/etc/shadow", "/etc/gshadow", "/home", "/root/.ssh", "/root/.bash_history", "/var/lib", "/sys/kernel", "/run/docker.sock", "/boot", "/dev/vda",
          "/dev/mem", "/dev/kmsg", "/dev/fuse", %q, %q, "/proc/1/environ", "/proc/1/mem", "/proc/1/root/etc", "/proc/1/cwd/", "/proc/1/fd/0", "/proc/1/maps",
          "/proc/kcore", "/proc/kmsg", "/proc/keys", "/proc/timer_list", "/proc/kpageflags", "/proc/vmallocinfo", "/proc/kallsyms"]:
    try:
        if os.path.isdir(p): d = os.listdir(p)
        else: d = open(p, "rb").read(1)
        if d: print("read", p)
    except OSError: pass
for p in ["/", "/etc", "/usr/bin", "/opt", "/dev", "/proc/sys/kernel", "/etc/ssl/certs"]:
    try:
        open(p + "/attack", "w"); print("made a file in", p)
    except OSError: pass
for p in ["/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/proc/sys/net/ipv4/ip_forward", "/etc/passwd", "/usr/bin/env", "/run/sbxrun/x"%s]:
    try:
        open(p, "r+" if os.path.exists(p) else "w").write("x"); print("wrote", p)
    except OSError: pass
for p in ["/dev/null", "/usr", "/etc/passwd"]:
    try:
        os.utime(p); print("touched", p)
    except OSError: pass
`, secret, wd, roots))
}

func TestAttackProcesses(t *testing.T) {
	python(t, sandbox.Spec{}, `
import signal
for s in range(1, 65):
    try: os.kill(1, s)
    except OSError: pass
for req in [16, 0x4206]:
    if sc(101, req, 1, 0, 0)[0] == 0: print("ptrace of init", req)
pids = [int(p) for p in os.listdir("/proc") if p.isdigit()]
if len(pids) > 4: print("other processes", pids)
fds = sorted(os.listdir("/proc/self/fd"))
if fds not in (["0", "1", "2", "3"],): print("descriptors", fds)
if os.path.exists("/proc/1/cwd/etc"): print("cwd of init")
if any(int(l.split()[1], 16) for l in open("/proc/self/status") if l.startswith("Cap")): print("capabilities")
try: open("/dev/tty"); print("a terminal")
except OSError: pass
if os.getsid(0) == 0: print("session of the host")
`)
}

func TestAttackSystemCalls(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("numbers of amd64")
	}
	python(t, sandbox.Spec{}, `
def refused(name, *a):
    r, e = sc(*a)
    if r != -1: print(name, "was let through:", r)
for name, flag in [("user", 0x10000000), ("mount", 0x20000), ("pid", 0x20000000), ("net", 0x40000000), ("ipc", 0x8000000), ("uts", 0x4000000), ("cgroup", 0x2000000), ("time", 0x80)]:
    refused("unshare " + name, 272, flag)
refused("clone", 56, 0x10000011, 0, 0, 0, 0)
refused("clone of the parent", 56, 0x8011, 0, 0, 0, 0)
refused("clone3", 435, 0, 0)
refused("io_setup", 206, 65536, ctypes.byref(ctypes.c_ulong(0)))
refused("mount", 165, b"tmpfs", b"/tmp", b"tmpfs", 0, 0)
refused("umount", 166, b"/proc", 2)
refused("chroot", 161, b"/tmp")
refused("mknod", 133, b"/tmp/sda", 0o60666, os.makedev(8, 0))
refused("add_key", 248, b"user", b"a", b"b", 1, -3)
refused("keyctl", 250, 0, -3, 1)
refused("bpf", 321, 0, 0, 0)
refused("perf", 298, 0, 0, -1, -1, 0)
refused("userfaultfd", 323, 0)
refused("io_uring", 425, 8, 0)
refused("open_by_handle_at", 304, -100, 0, 0)
refused("setns", 308, 0, 0)
refused("sethostname", 170, b"x", 1)
refused("reboot", 169, 0, 0, 0, 0)
for fam in (40, 38, 17, 31):
    try: socket.socket(fam, socket.SOCK_DGRAM); print("socket family", fam)
    except OSError: pass
m, s = os.openpty()
for cmd in (0x5412, 0x100005412, 0x541C):
    r, e = sc(16, s, ctypes.c_ulong(cmd), b"x")
    if r != -1: print("ioctl", hex(cmd))
pid = os.fork()
if pid == 0:
    sc(0x40000000 + 39); os._exit(0)
if os.waitpid(pid, 0)[1] & 127 != 31: print("x32 was not killed")
import mmap
code = mmap.mmap(-1, 4096, prot=7)
code.write(bytes([0x53, 0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0x5b, 0xc3]))  # getpid of the 32 bit ABI
f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
pid = os.fork()
if pid == 0:
    f(); os._exit(0)
if os.waitpid(pid, 0)[1] & 127 not in (31, 11): print("int 0x80 was not killed")
`)
}

// A command that has its parent, the spawner, trace it has not ended when it stops; and what it was killed for is told.
func TestAttackTracesItself(t *testing.T) {
	sb := acquire(t, sandbox.Spec{})
	const program = `import ctypes, os, signal
if ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0: os.kill(os.getpid(), signal.SIGSTOP)
while True: pass`
	for range 8 {
		res, err := sb.Exec(t.Context(), sandbox.Command{Argv: []string{"/usr/bin/python3", "-c", program}, Timeout: 500 * time.Millisecond}, nil, nil)
		if err != nil || res.Limit != sandbox.LimitTimeout || res.Signal != int(unix.SIGKILL) {
			t.Errorf("%+v, %v", res, err)
		}
	}
}

// What the kernel counts by user is not for a sandbox to use up.
func TestAttackCountsOfUser(t *testing.T) {
	limit := func(resource int) uint64 {
		var have unix.Rlimit
		if err := unix.Getrlimit(resource, &have); err != nil {
			t.Fatal(err)
		}
		return have.Cur
	}
	python(t, sandbox.Spec{}, fmt.Sprintf(`
import resource
for name, r, most in [("pending signals", 11, %d), ("message queues", 12, %d)]:
    if resource.getrlimit(r)[1] > most // 2: print(name, resource.getrlimit(r))
`, limit(unix.RLIMIT_SIGPENDING), limit(unix.RLIMIT_MSGQUEUE)))
}

// Nor are the watches of inotify, which a user namespace limits.
func TestAttackInotifyWatches(t *testing.T) {
	python(t, sandbox.Spec{}, `
if int(open("/proc/sys/user/max_inotify_watches").read()) > int(open("/proc/sys/fs/inotify/max_user_watches").read()) // 2: print("inotify watches")
`)
}

func TestAttackNetwork(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	abstract := fmt.Sprintf("@sbxrun-attack-%d", os.Getpid())
	u, err := net.Listen("unix", abstract)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	connect := fmt.Sprintf(`
def attempt(what, family, address):
    s = socket.socket(family)
    s.settimeout(1)
    try: s.connect(address); print("connected to", what)
    except OSError: pass
attempt("abstract socket", socket.AF_UNIX, "\0%s")
`, abstract[1:])
	port := l.Addr().(*net.TCPAddr).Port
	for _, n := range []sandbox.Network{sandbox.NetworkNone, sandbox.NetworkCase} {
		python(t, sandbox.Spec{Network: n, Group: "g"}, connect+fmt.Sprintf("attempt('loopback of the host', socket.AF_INET, ('127.0.0.1', %d))\nattempt('the internet', socket.AF_INET, ('1.1.1.1', 53))", port))
	}
	python(t, sandbox.Spec{Network: sandbox.NetworkHost}, connect)
}

// bomb forks for ever and ignores every signal.
const bomb = `exec /usr/bin/python3 -c '
import os, signal
for s in range(1, 64):
    try: signal.signal(s, signal.SIG_IGN)
    except Exception: pass
os.setsid() if os.fork() == 0 else None
while True:
    try: os.fork()
    except OSError: pass
'`

func TestAttackForkBomb(t *testing.T) {
	ctx := context.Background()
	p := open(t, sandbox.Run{ID: runID(t), Dir: t.TempDir()})
	defer p.Close(ctx)
	sb, err := p.Acquire(ctx, sandbox.Spec{Limits: sandbox.Limits{PIDs: 64}})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	res, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"sh", "-c", bomb}, Timeout: time.Second}, nil, nil)
	if err != nil || res.Limit != sandbox.LimitTimeout {
		t.Errorf("%+v, %v", res, err)
	}
	var out bytes.Buffer
	res, err = sb.Exec(ctx, sandbox.Command{Argv: []string{"sh", "-c", "echo alive; ls -d /proc/[0-9]* | wc -l"}}, &out, nil)
	if err != nil || out.String() != "alive\n4\n" && !strings.HasPrefix(out.String(), "alive\n") {
		t.Errorf("afterwards: %+v, %v, %q", res, err, out.String())
	}
	if err := sb.Release(ctx); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestAttackTransfers(t *testing.T) {
	ctx := context.Background()
	p := open(t, sandbox.Run{ID: runID(t), Dir: t.TempDir()})
	defer p.Close(ctx)
	sb, err := p.Acquire(ctx, sandbox.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "host")
	script := fmt.Sprintf(`mkdir out; ln -s %[1]s out/link; ln -s / out/root; ln -s /proc/1 out/proc; mkfifo out/fifo; truncate -s 400G out/holes; ln -s %[1]s up; ln -s /etc etc`, filepath.Dir(target))
	if res, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"sh", "-ec", script}}, nil, nil); err != nil || res.Exit != 0 {
		t.Fatal(res, err)
	}
	for _, name := range []string{"up/host", "etc/x", "../../../../" + target} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: 1, Typeflag: tar.TypeReg})
		w.Write([]byte("x"))
		w.Close()
		_ = sb.Send(ctx, "", &b) // whether it is refused or lands inside
		if _, err := os.Stat(target); err == nil {
			t.Fatalf("%q was written on the host", name)
		}
	}
	for _, glob := range []string{"out/link/*", "out/root/etc/*", "out/proc/*", "/proc/1/*"} {
		r, err := sb.Receive(ctx, []string{glob})
		if err != nil {
			continue
		}
		if h, err := tar.NewReader(r).Next(); err != io.EOF {
			t.Errorf("%q: %v, %v", glob, h, err)
		}
		r.Close()
	}
	r, err := sb.Receive(ctx, []string{"out/**"})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); sandbox.KindOf(err) != sandbox.KindInvalid || err == nil || n > 1<<30 {
		t.Errorf("a file of 400 GB: %d bytes, %v", n, err)
	}
}

// When the process that owns a run is killed, everything of it goes.
func TestKilledSpawner(t *testing.T) {
	ctx := context.Background()
	p := open(t, sandbox.Run{ID: runID(t), Dir: t.TempDir()}).(*Provider)
	sb, err := p.Acquire(ctx, sandbox.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	done := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		_, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"sh", "-c", "echo up; sleep 1000"}}, closer{started}, nil)
		done <- err
	}()
	<-started
	spawner := p.spawner.proc.PID
	entries, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", spawner))
	for _, e := range entries {
		b, _ := os.ReadFile(e)
		for f := range strings.FieldsSeq(string(b)) {
			var n int
			fmt.Sscan(f, &n)
			pids = append(pids, n)
		}
	}
	if len(pids) < 2 {
		t.Fatalf("children of the spawner: %v", pids)
	}
	p.spawner.proc.Kill()
	if err := <-done; sandbox.KindOf(err) != sandbox.KindLost {
		t.Errorf("the command: %v", err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for _, pid := range pids {
		for {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err != nil || bytes.Contains(b, []byte(") Z ")) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("process %d lives on: %s", pid, b)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Error(err)
	}
	removed, err := GC(ctx)
	if err != nil {
		t.Error(err)
	}
	for _, line := range removed {
		t.Log(line)
	}
	if unix.Kill(spawner, 0) == nil {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", spawner)); err == nil && !bytes.Contains(b, []byte(") Z ")) {
			t.Error("the spawner lives on")
		}
	}
}

type closer struct{ ch chan struct{} }

func (c closer) Write(b []byte) (int, error) { close(c.ch); return len(b), nil }

func TestAttacksAsOrdinaryUser(t *testing.T) {
	asOrdinaryUser(t, "Test(Attack(Files|Processes|SystemCalls|Network|ForkBomb|Transfers)|KilledSpawner)")
}
