package userns

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// role says what a run of the test binary by itself has to do.
const role = "SBXRUN_USERNS_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "check":
		if err := Check(); err != nil {
			_, _ = os.Stdout.WriteString(err.Error())
		}
	case "masked": // a mount namespace in which a folder of /proc is masked, as in a container
		if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("tmpfs", "/proc/fs", "tmpfs", unix.MS_RDONLY, "")); err != nil {
			_, _ = os.Stdout.WriteString(err.Error())
			return
		}
		_, _ = os.Stdout.WriteString(self("check", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}))
	case "limit": // a user namespace that may hold none itself; the limit is each user namespace's own
		if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
			_, _ = os.Stdout.WriteString(err.Error())
			return
		}
		_, _ = os.Stdout.WriteString(self("check", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1, Gid: 1, NoSetGroups: true}}))
	default:
		os.Exit(m.Run())
	}
}

// self runs the test binary in a role and returns what it says.
func self(as string, attr *syscall.SysProcAttr) string {
	cmd := exec.Command("/proc/self/exe")
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", append(os.Environ(), role+"="+as), attr
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out) + err.Error()
	}
	return string(out)
}

func root(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("becoming another user needs root")
	}
}

func TestCheckHere(t *testing.T) {
	if err := Check(); err != nil {
		var b *Blocked
		if !errors.As(err, &b) || b.Remedy == "" {
			t.Errorf("an error without a remedy: %v", err)
		}
		t.Logf("this machine refuses: %v", err)
	}
}

func TestCheckAsOrdinaryUser(t *testing.T) {
	root(t)
	if said := self("check", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}); said != "" && !strings.Contains(said, "; ") {
		t.Error(said)
	}
}

func TestMaskedProcIsNamed(t *testing.T) {
	root(t)
	said := self("masked", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS})
	if !strings.Contains(said, "masks parts of /proc") || !strings.Contains(said, "systempaths=unconfined") {
		t.Errorf("got %q", said)
	}
}

func TestLimitIsNamed(t *testing.T) {
	root(t)
	said := self("limit", &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 2}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 2}},
	})
	if !strings.Contains(said, "user.max_user_namespaces is 0") || !strings.Contains(said, "sysctl -w") {
		t.Errorf("got %q", said)
	}
}

// What Explain makes of machines that are not here.
func TestCause(t *testing.T) {
	usual := func(change func(*machine)) machine {
		m := machine{uid: 1000, maxUser: "15000", hasUserNS: true, exe: "/usr/bin/sbxrun"}
		change(&m)
		return m
	}
	for _, c := range []struct {
		name    string
		m       machine
		step    Step
		err     error
		blocker string
		remedy  string
	}{
		{"old kernel", usual(func(m *machine) { m.hasUserNS = false }), StepClone, unix.EINVAL, "no user namespaces", "kernel"},
		{"limit", usual(func(m *machine) { m.maxUser = "0" }), StepClone, unix.ENOSPC, "user.max_user_namespaces is 0", "user.max_user_namespaces=15000"},
		{"limit of another kind", usual(func(m *machine) { m.otherMax = "user.max_net_namespaces" }), StepClone, unix.ENOSPC, "user.max_net_namespaces is 0", "user.max_net_namespaces=15000"},
		{"limit reached", usual(func(*machine) {}), StepClone, unix.ENOSPC, "reached", "end what holds them"},
		{"Debian's switch", usual(func(m *machine) { m.clone = "0" }), StepClone, unix.EPERM, "unprivileged_userns_clone is 0", "unprivileged_userns_clone=1"},
		{"Debian's switch does not bind root", usual(func(m *machine) { m.clone, m.sysAdmin, m.seccomp = "0", true, true }), StepClone, unix.EPERM, "seccomp", "seccomp=unconfined"},
		{"Docker", usual(func(m *machine) { m.seccomp = true }), StepClone, unix.EPERM, "seccomp", "seccomp=unconfined"},
		{"Docker's AppArmor", usual(func(m *machine) { m.profile = "docker-default (enforce)" }), StepMount, unix.EACCES, "docker-default", "apparmor=unconfined"},
		{"masked proc", usual(func(m *machine) { m.maskedProc, m.seccomp = true, true }), StepProc, unix.EPERM, "masks parts of /proc", "procMount: Unmasked"},
		{"Ubuntu 24.04", usual(func(m *machine) { m.apparmor = "1" }), StepMount, unix.EACCES, "AppArmor", `profile sbxrun "/usr/bin/sbxrun"`},
		{"chroot", usual(func(m *machine) { m.chroot = true }), StepClone, unix.EPERM, "chroot", "outside"},
		{"SELinux", usual(func(m *machine) { m.selinux = true }), StepClone, unix.EACCES, "SELinux", "ausearch"},
		{"unmapped", usual(func(m *machine) { m.insideUserNS = true }), StepMap, unix.EPERM, "not mapped", "uid_map"},
		{"unknown", usual(func(*machine) {}), StepMount, unix.EPERM, "refuses it", "report this with: uid 1000"},
		{"not a refusal", usual(func(m *machine) { m.seccomp = true }), StepMount, fs.ErrNotExist, "not known", "seccomp filter true"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := c.m.explain(c.step, c.err)
			if !strings.Contains(b.Blocker, c.blocker) || !strings.Contains(b.Remedy, c.remedy) {
				t.Errorf("blocker %q, remedy %q", b.Blocker, b.Remedy)
			}
			if !errors.Is(b, c.err) || !strings.Contains(b.Error(), c.step.String()) {
				t.Errorf("error %q", b)
			}
		})
	}
}

func TestMasked(t *testing.T) {
	const proc = "22 27 0:21 / /proc rw - proc proc rw\n"
	for mounts, want := range map[string]bool{
		proc: false,
		proc + "30 22 0:99 / /proc/acpi ro - tmpfs tmpfs ro\n":                                  true,
		proc + "30 22 0:99 / /proc/sys ro - proc proc rw\n":                                     true,
		proc + "30 22 0:5 /null /proc/kcore rw - devtmpfs udev rw\n":                            true,
		proc + "30 22 0:99 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw\n":               false,
		"22 27 0:21 / /process rw - ext4 /dev/x rw\n23 27 0:22 / / rw - overlay overlay rw\n\n": false,
	} {
		if got := masked(mounts); got != want {
			t.Errorf("%q: %t", mounts, got)
		}
	}
}

func TestChrooted(t *testing.T) {
	if chrooted(read("/proc/self/mountinfo")) {
		t.Error("this process")
	}
	if !chrooted("22 27 0:21 / /proc rw - proc proc rw\n") {
		t.Error("no mount at the root")
	}
}
