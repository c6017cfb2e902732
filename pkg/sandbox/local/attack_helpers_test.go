package local

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// attacker runs a Python program in a sandbox until the sandbox is released, and returns when it has printed "up".
func attacker(t *testing.T, sb sandbox.Sandbox, program string) *transcript {
	t.Helper()
	out := &transcript{up: make(chan struct{})}
	script := "import ctypes, os, sys, time\nlibc = ctypes.CDLL(None, use_errno=True)\n" +
		"def pids(): return {int(p) for p in os.listdir('/proc') if p.isdigit()}\n" + program
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = sb.Exec(context.Background(), sandbox.Command{Argv: []string{"/usr/bin/python3", "-c", script}}, out, out)
	}()
	select {
	case <-out.up:
	case <-ended:
		t.Fatalf("the attacker ended: %s", out.String())
	case <-time.After(30 * time.Second):
		t.Fatalf("the attacker does not come up: %s", out.String())
	}
	return out
}

// transcript is output that tells when "up" comes.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
	up   chan struct{}
	told bool
}

func (tr *transcript) Write(b []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.text.Write(b)
	if !tr.told && strings.Contains(tr.text.String(), "up\n") {
		tr.told = true
		close(tr.up)
	}
	return len(b), nil
}

func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.text.String()
}

// within30 fails where f takes so long that it hangs.
func within30(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s hangs", what)
	}
}

// A command that another one holds as a debugger stays a zombie when it is killed, and its time limit ends it all the
// same.
func TestAttackTracedCommand(t *testing.T) {
	sb := acquire(t, sandbox.Spec{})
	out := attacker(t, sb, `
known = pids()
print("up", flush=True)
while True:
    for p in pids() - known:
        if libc.ptrace(0x4206, p, 0, 0) == 0: # PTRACE_SEIZE
            print("seized", flush=True)
            time.sleep(1000)
`)
	within30(t, "the command", func() {
		res, err := sb.Exec(context.Background(), sandbox.Command{Argv: []string{"sleep", "1"}, Timeout: 3 * time.Second}, nil, nil)
		if err != nil || res.Limit != sandbox.LimitTimeout || !strings.Contains(out.String(), "seized") {
			t.Errorf("%+v, %v; the attacker: %s", res, err, out)
		}
	})
}

// A command whose mark another one lowers is ended by its time limit.
func TestAttackMark(t *testing.T) {
	sb := acquire(t, sandbox.Spec{})
	attacker(t, sb, `
import resource
known = pids()
print("up", flush=True)
while True:
    for p in pids() - known:
        try:
            soft, hard = resource.prlimit(p, resource.RLIMIT_RTTIME)
            resource.prlimit(p, resource.RLIMIT_RTTIME, (hard - 1, hard - 1)) # of the next command
            known.add(p)
        except (OSError, ValueError): pass
`)
	within30(t, "the command", func() {
		ctx := context.Background()
		done := make(chan struct{})
		go func() {
			defer close(done)
			res, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"sleep", "1000"}, Timeout: 2 * time.Second}, nil, nil)
			if err != nil || res.Limit != sandbox.LimitTimeout {
				t.Errorf("%+v, %v", res, err)
			}
		}()
		time.Sleep(time.Second) // the next command's mark is one that was given when the first one's time is over
		if res, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"true"}}, nil, nil); err != nil || res.Exit != 0 {
			t.Errorf("%+v, %v", res, err)
		}
		<-done
	})
}

// A process that makes files and is stopped from inside does not keep its caller from giving up.
func TestAttackStoppedSend(t *testing.T) {
	sb := acquire(t, sandbox.Spec{})
	out := attacker(t, sb, `
last = max(pids())
print("up", flush=True)
while True:
    for p in range(last + 1, last + 3):
        try:
            os.kill(p, 19)
            print("stopped", flush=True)
            time.sleep(1000)
        except OSError: pass
`)
	within30(t, "Send", func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		r, w := io.Pipe()
		defer r.Close()
		go func() { // more than a pipe takes, and never all of it
			tw := tar.NewWriter(w)
			_ = tw.WriteHeader(&tar.Header{Name: "x", Mode: 0o644, Size: 1 << 30, Typeflag: tar.TypeReg})
			for {
				if _, err := tw.Write(make([]byte, 1<<20)); err != nil || strings.Contains(out.String(), "stopped") {
					break
				}
			}
			<-ctx.Done()
			_ = w.CloseWithError(ctx.Err())
		}()
		if err := sb.Send(ctx, "", r); err == nil {
			t.Error("Send of half a file succeeded")
		}
	})
}

// A link to /proc/self/exe makes the kernel execute what the spawner was started from: that is not a file that the
// sandbox's user could change.
func TestAttackOwnBinary(t *testing.T) {
	sb := acquire(t, sandbox.Spec{})
	out := attacker(t, sb, `
os.symlink("/proc/self/exe", "prog")
known = pids()
print("up", flush=True)
while True:
    for p in pids() - known:
        try: fd = os.open("/proc/%d/exe" % p, os.O_RDONLY)
        except OSError: continue
        st = os.fstat(fd)
        if os.pread(fd, 4, 0) != b"\x7fELF" or "python" in os.readlink("/proc/self/fd/%d" % fd): continue
        print("own" if st.st_nlink and st.st_uid == os.getuid() else "foreign", flush=True)
        for mode in (os.O_WRONLY, os.O_RDWR):
            try: os.open("/proc/self/fd/%d" % fd, mode); print("own: it can be written to", flush=True)
            except OSError: pass
        time.sleep(1000)
`)
	// The binary of this test would run its tests; -test.v and a test that waits give the attacker time.
	_, _ = sb.Exec(context.Background(), sandbox.Command{
		Argv: []string{"./prog", "-test.run", "^TestWaiting$"}, Env: map[string]string{waitingVar: "1"}, Timeout: 10 * time.Second,
	}, nil, nil)
	if text := out.String(); strings.Contains(text, "own") || !strings.Contains(text, "foreign") {
		t.Error(text)
	}
}

const waitingVar = "SBXRUN_TEST_WAITING"

// TestWaiting is what TestAttackOwnBinary has executed in the sandbox.
func TestWaiting(t *testing.T) {
	if os.Getenv(waitingVar) != "" {
		time.Sleep(3 * time.Second)
	}
}

// What is on its way into a sandbox still sees the host, and those in the sandbox do not see it.
func TestAttackProcessesOnTheirWay(t *testing.T) {
	sb := acquire(t, sandbox.Spec{})
	out := attacker(t, sb, `
mine = open("/proc/self/mountinfo").read()
last = max(pids())
print("up", flush=True)
while True:
    for p in range(last + 1, last + 3):
        try:
            if "spawner" in open("/proc/%d/cmdline" % p).read(): print("seen", flush=True)
            if open("/proc/%d/mountinfo" % p).read() not in ("", mine): print("mounts seen", flush=True)
        except OSError: pass
        if os.path.exists("/proc/%d/exe" % (p + 1)): last = p
`)
	for range 100 {
		if _, err := sb.Exec(context.Background(), sandbox.Command{Argv: []string{"true"}}, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if text := out.String(); text != "up\n" {
		t.Errorf("%.1000s", text)
	}
}

// A command made of too much output is refused, and nothing else is harmed.
func TestAttackLongCommand(t *testing.T) {
	ctx := context.Background()
	sb := acquire(t, sandbox.Spec{})
	_, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"sh"}, Script: make([]byte, 70<<20)}, nil, nil)
	if sandbox.KindOf(err) != sandbox.KindInvalid {
		t.Errorf("%v", err)
	}
	if res, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"true"}}, nil, nil); err != nil || res.Exit != 0 {
		t.Errorf("afterwards: %+v, %v", res, err)
	}
}

// What stays in a folder of the host cannot be made to run as the folder's owner, who may be root.
func TestAttackSetID(t *testing.T) {
	dir := t.TempDir()
	spec := sandbox.Spec{Local: sandbox.Local{Mounts: []sandbox.Mount{{Source: dir, Target: "/mnt", Writable: true}}}}
	out, res := run(t, spec, `cd /mnt; exec /usr/bin/python3 - <<'END'
import ctypes, os, tempfile
libc = ctypes.CDLL(None, use_errno=True)
open("plain", "w").close()
os.chmod("plain", 0o755)
fd = os.open("plain", os.O_RDONLY)
how = (ctypes.c_uint64 * 3)(os.O_CREAT | os.O_WRONLY, 0o4755, 0)
for bits in 0o4755, 0o2755:
    for what in (lambda: os.chmod("plain", bits), lambda: os.fchmod(fd, bits), lambda: os.open("a", os.O_CREAT | os.O_WRONLY, bits),
                 lambda: os.mknod("b", 0o100000 | bits), lambda: os.open(".", os.O_TMPFILE | os.O_WRONLY, bits)):
        try: what()
        except PermissionError: pass
    libc.syscall(437, -100, b"c", how, 24)
    libc.syscall(452, -100, b"plain", bits, 0)
    libc.creat(b"d", bits)
for name in os.listdir("."):
    if os.stat(name).st_mode & 0o6000: print("set-id", name)
END
`)
	entries, err := os.ReadDir(dir)
	if out != "" || res.Exit != 0 || err != nil || len(entries) != 1 {
		t.Errorf("%+v: %s; %v, %v", res, out, entries, err)
	}
}

func TestAttacksOnHelpersAsOrdinaryUser(t *testing.T) {
	asOrdinaryUser(t, "TestAttack(TracedCommand|Mark|StoppedSend|OwnBinary|ProcessesOnTheirWay|Lease|MemoryOfNobody|SetID|Inotify|LongCommand|LimitsOnTheWay)")
}

// A file that cannot be opened because of what holds it is the doing of the sandbox.
func TestAttackLease(t *testing.T) {
	sb := acquire(t, sandbox.Spec{})
	attacker(t, sb, `
import fcntl, signal
signal.signal(signal.SIGIO, signal.SIG_IGN)
for name, mode in ("open", 0o644), ("closed", 0):
    fd = os.open(name, os.O_RDWR | os.O_CREAT)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    os.fchmod(fd, mode)
print("up", flush=True)
time.sleep(1000)
`)
	for _, name := range []string{"open", "closed"} {
		within30(t, "Receive", func() {
			r, err := sb.Receive(context.Background(), []string{name})
			if err == nil {
				_, err = io.Copy(io.Discard, r)
				r.Close()
			}
			if sandbox.KindOf(err) != sandbox.KindInvalid {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// Where memory is added up of processes, the kernel holds no more than a little that belongs to none.
func TestAttackMemoryOfNobody(t *testing.T) {
	out, res := run(t, sandbox.Spec{Limits: sandbox.Limits{Memory: 256 << 20, Inodes: 1000}}, `exec /usr/bin/python3 - <<'END'
import ctypes, os
libc = ctypes.CDLL(None)
sets = 0
while sets < 1000 and libc.semget(0, 32000, 0o1600) >= 0: sets += 1
if sets > 500: print("semaphores", sets)
made = 0
try:
    while made < 50000:
        os.close(os.open("/run/sbxrun/%d" % made, os.O_CREAT | os.O_WRONLY)); made += 1
except OSError: pass
if made > 20000: print("files", made)
END
`)
	if out != "" || res.Exit != 0 && res.Limit != sandbox.LimitOOM {
		t.Errorf("%+v: %s", res, out)
	}
}

// What the kernel counts for a user is not used up by one of the user's sandboxes.
func TestAttackInotify(t *testing.T) {
	out, res := run(t, sandbox.Spec{}, `exec /usr/bin/python3 - <<'END'
import ctypes
libc = ctypes.CDLL(None)
made = 0
while made < 500 and libc.inotify_init() >= 0: made += 1
if not 8 <= made <= 32: print(made)
END
`)
	if out != "" || res.Exit != 0 {
		t.Errorf("%+v: %s", res, out)
	}
}

// A command whose limits another one lowers while it is on its way into the sandbox fails, if it does: that is the doing of
// what runs there, and no error.
func TestAttackLimitsOnTheWay(t *testing.T) {
	sb := acquire(t, sandbox.Spec{})
	attacker(t, sb, `
import resource
last = max(pids())
print("up", flush=True)
while True:
    for p in range(last + 1, last + 4):
        for l in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_DATA, resource.RLIMIT_NPROC):
            try:
                resource.prlimit(p, l, (0, 0))
                last = max(last, p)
            except (OSError, ValueError): pass
`)
	failed := 0
	for range 40 {
		res, err := sb.Exec(context.Background(), sandbox.Command{Argv: []string{"sh"}, Script: []byte("true")}, nil, nil)
		if err != nil && sandbox.KindOf(err) != sandbox.KindInvalid {
			t.Fatal(err)
		}
		if err != nil || res.Exit != 0 {
			failed++
		}
	}
	t.Logf("%d commands failed", failed)
}
