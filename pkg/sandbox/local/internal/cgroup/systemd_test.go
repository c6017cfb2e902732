package cgroup

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/scope"
)

// session is a user's session in namespaces of its own: a bus, and a systemd --user in a group of its own. The arguments
// are the group and the test binary.
const session = `
set -e
mount --make-rprivate /
mount -t proc proc /proc
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir -p /run/user/0 /run/systemd/system
chmod 700 /run/user/0
export XDG_RUNTIME_DIR=/run/user/0 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/0/bus HOME=/run/user/0
dbus-daemon --session --address=$DBUS_SESSION_BUS_ADDRESS --fork --nopidfile
mkdir /sys/fs/cgroup$1/manager /sys/fs/cgroup$1/shell
echo $$ > /sys/fs/cgroup$1/manager/cgroup.procs
"$3" --user >/dev/null 2>&1 &
echo $$ > /sys/fs/cgroup$1/shell/cgroup.procs
for i in $(seq 100); do systemctl --user is-system-running >/dev/null 2>&1 && break; sleep 0.1; done
SBXRUN_CGROUP_ROLE=systemd "$2"
`

// TestScopeOfSystemd has a real systemd of a user delegate a scope, and uses it. What it cannot try where the controllers
// are on v1 is that they are there; TestDivideAGroupOfOurOwn does.
func TestScopeOfSystemd(t *testing.T) {
	manager := "/lib/systemd/systemd"
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	lacks := t.Skip
	if os.Getenv("SBXRUN_REQUIRE_CGROUPS") != "" {
		lacks = t.Fatal
	}
	for _, program := range []string{manager, "dbus-daemon", "systemctl", "mount"} {
		if _, err := exec.LookPath(program); err != nil {
			lacks("needs an installed systemd and D-Bus: ", err)
		}
	}
	v2, err := mountV2()
	if err != nil {
		lacks("needs to mount the v2 hierarchy: ", err)
	}
	defer v2.Close()
	name := "/test-systemd-" + strconv.Itoa(os.Getpid())
	group := filepath.Join(fmt.Sprintf("/proc/self/fd/%d", v2.Fd()), name)
	if err := os.Mkdir(group, 0o755); err != nil {
		lacks(err)
	}
	defer func() {
		var err error
		for range 500 { // the namespace's processes have been killed and go
			if err = rmtree(group); err == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Error(err)
	}()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", session, "sh", name, exe, manager)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasSuffix(string(out), "ok\n") {
		t.Errorf("%s, %v", out, err)
	}
}

// mountV2 mounts the v2 hierarchy where nobody else sees it, in no folder: it goes with its descriptor.
func mountV2() (*os.File, error) {
	fs, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, err
	}
	root, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(root), "cgroup2"), nil
}

// useScope is the session's part of the test.
func useScope() error {
	needed = nil
	v2, _, err := hierarchies(0)
	if err != nil {
		return err
	}
	m := &Manager{Run: "scope"}
	if err := m.useSystemd(context.Background(), v2, Options{RunID: "scope", PID: os.Getpid(), Scope: scope.Start}); err != nil {
		return err
	}
	if m.Mode != ModeV2 || filepath.Base(m.Memory) != "sbxrun-scope.scope" {
		return fmt.Errorf("%+v", m)
	}
	if err := useGroup(m); err != nil {
		return err
	}
	// Another run of the same name is refused with what systemd says.
	if err := m.useSystemd(context.Background(), v2, Options{RunID: "scope", PID: os.Getpid(), Scope: scope.Start}); err == nil || !strings.Contains(err.Error(), "sbxrun-scope.scope") {
		return fmt.Errorf("the same scope twice: %v", err)
	}
	return m.Close()
}
