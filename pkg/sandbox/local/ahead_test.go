package local

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

func TestAhead(t *testing.T) {
	ahead := StartAhead()
	defer ahead.Close()
	p, err := Open(t.Context(), Options{Run: sandbox.Run{ID: runID(t), Dir: t.TempDir()}, Ahead: ahead})
	if err != nil {
		t.Fatal(err)
	}
	acquire := func() {
		t.Helper()
		sb, err := p.Acquire(t.Context(), sandbox.Spec{})
		if err != nil {
			t.Fatal(err)
		}
		res, err := sb.Exec(t.Context(), sandbox.Command{Argv: []string{"true"}}, nil, nil)
		if err != nil || res.Exit != 0 {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	acquire()
	if p.spawner.proc != ahead.proc {
		t.Error("another spawner was started")
	}
	ahead.Close() // which is the provider's now
	acquire()
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if again, err := ahead.take(); again != nil || err != nil {
		t.Errorf("taken twice: %v, %v", again, err)
	}
}

func TestAheadOfNothing(t *testing.T) {
	ahead := StartAhead()
	ahead.Close()
	if _, err := os.Stat("/proc/" + strconv.Itoa(ahead.proc.PID)); !os.IsNotExist(err) {
		t.Errorf("the process is there: %v", err)
	}
	ahead.Close()
	(*Ahead)(nil).Close()
}

// maskedVar is set in the processes of TestMaskedProc: root's, which masks a file of /proc as containers do, and an ordinary
// user's in the same mount namespace.
const maskedVar = "SBXRUN_TEST_MASKED_PROC"

// Where the spawner cannot work the first sandbox says why, and who wanted none hears nothing.
func TestMaskedProc(t *testing.T) {
	stage := os.Getenv(maskedVar)
	again := func(next string, attr *syscall.SysProcAttr) {
		cmd := exec.Command("/proc/self/exe", "-test.run", "^TestMaskedProc$")
		cmd.Dir, cmd.SysProcAttr = "/", attr
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent", maskedVar + "=" + next}
		if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "sbxrun: ") {
			t.Errorf("%v\n%s", err, out)
		}
	}
	switch {
	case stage == "" && os.Geteuid() == 0:
		again("mount", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS})
	case stage == "":
		t.Skip("masking a file of /proc needs root")
	case stage == "mount":
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("/dev/null", "/proc/cpuinfo", "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		again("run", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
	default:
		unwanted := StartAhead()
		<-unwanted.done
		time.Sleep(200 * time.Millisecond) // it has found out
		unwanted.Close()
		p := open(t, sandbox.Run{ID: runID(t), Dir: t.TempDir()})
		_, err := p.Acquire(t.Context(), sandbox.Spec{})
		if sandbox.KindOf(err) != sandbox.KindUnsupported || !strings.Contains(err.Error(), "masks parts of /proc") {
			t.Fatal(err)
		}
	}
}
