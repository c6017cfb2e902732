package local

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest"
)

func open(t *testing.T, run sandbox.Run) sandbox.Provider {
	t.Helper()
	p, err := Open(context.Background(), Options{Run: run, AllowNoIsolation: true})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestConformance(t *testing.T) {
	p := open(t, sandbox.Run{ID: "probe", Dir: t.TempDir()}).(*Provider)
	lines := strings.Join(p.Warnings(sandbox.Spec{}), "\n")
	cg := p.cgroups
	if !cg.Enforces("memory") && !strings.Contains(lines, "memory by looking") {
		t.Errorf("the warnings do not say how memory is limited: %q", lines)
	}
	if err := p.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	sandboxtest.Run(t, sandboxtest.Config{
		Open:     open,
		Enforces: sandboxtest.Enforces{Disk: true, Inodes: true, PIDs: cg.Enforces("pids"), Memory: true, Files: true},
		Networks: []sandbox.Network{sandbox.NetworkNone, sandbox.NetworkCase, sandbox.NetworkHost},
	})
}

// ordinaryVar is set in the run of a test as an ordinary user.
const ordinaryVar = "SBXRUN_TEST_ORDINARY"

// asOrdinaryUser runs a test of this binary again as nobody, where it is root that runs it.
func asOrdinaryUser(t *testing.T, name string) {
	if os.Geteuid() != 0 {
		t.Skip("the test itself runs as an ordinary user")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run", "^"+name+"$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/nonexistent", ordinaryVar + "=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestConformanceAsOrdinaryUser(t *testing.T) { asOrdinaryUser(t, "TestConformance") }

// Root that may make no user namespaces does without: the user ids on the host keep sandboxes apart then.
func TestWithoutUserNamespaces(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user cannot do without user namespaces")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" "$@"`, program,
		"-test.run", "^(TestConformance|TestAttack[A-Z].*)$", "-test.v",
		// The one needs a writable mount, which is refused then; the other a limit of user namespaces, where the limit
		// of each user, which is not shared with another sandbox, remains.
		"-test.skip", "^(TestAttackSetID|TestAttackInotify.*)$")
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/nonexistent", withoutVar + "=1"}
	all := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1<<32 - 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: all, GidMappings: all, GidMappingsEnableSetgroups: true,
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// withoutVar is set in the run of a test in which user namespaces are refused.
const withoutVar = "SBXRUN_TEST_WITHOUT_USERNS"
