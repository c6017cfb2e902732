package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/cgroup"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/hostfs"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/scope"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/seccomp"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/spawner"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/userns"
)

// interpreters are the programs of which Examine tells what a sandbox finds instead of the host's.
var interpreters = []string{"python3", "python", "node", "ruby", "perl", "java", "go", "rustc", "cargo", "gcc"}

// Examine says what this machine can do for local sandboxes. It makes nothing that stays.
func Examine(ctx context.Context) []sandbox.Finding {
	root := os.Geteuid() == 0
	list := []sandbox.Finding{machine(), kernel(), user(root), namespaces(), limits(ctx), filter(), landlock(), overlay(), stateFolder()}
	return append(list, programs()...)
}

func machine() sandbox.Finding {
	f := sandbox.Finding{Name: "machine", State: sandbox.OK, Detail: fmt.Sprintf("%d cores", runtime.NumCPU())}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		f.Detail += fmt.Sprintf(", %d MiB memory", info.Totalram*uint64(info.Unit)>>20)
	}
	return f
}

// namespaces tries what a sandbox needs of namespaces and mounts.
func namespaces() sandbox.Finding {
	err := userns.Check()
	if b := (*userns.Blocked)(nil); errors.As(err, &b) {
		return sandbox.Finding{Name: "namespaces", State: sandbox.Blocked, Detail: fmt.Sprintf("%v: %v: %s", b.Step, b.Err, b.Blocker), Remedy: b.Remedy}
	}
	if err != nil {
		return sandbox.Finding{Name: "namespaces", State: sandbox.Blocked, Detail: err.Error(), Remedy: "run sbxrun where it may start itself again as /proc/self/exe"}
	}
	return sandbox.Finding{Name: "namespaces", State: sandbox.OK, Detail: "can be made, with a tmpfs and a /proc in them"}
}

// overlay is what a folder as the root needs.
func overlay() sandbox.Finding {
	const name = "rootfs folders"
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return sandbox.Finding{Name: name, State: sandbox.Blocked, Detail: err.Error(), Remedy: "mount /proc"}
	}
	if !strings.Contains(string(known), "\toverlay\n") {
		return sandbox.Finding{Name: name, State: sandbox.Weaker, Detail: "overlayfs is not loaded: only rootfs: host can be had", Remedy: "as root: modprobe overlay"}
	}
	if os.Geteuid() == 0 && before(5, 19) {
		return sandbox.Finding{Name: name, State: sandbox.Weaker, Detail: "overlayfs takes no mapped user ids: only rootfs: host can be had", Remedy: "use Linux 5.19 or later, or run sbxrun as an ordinary user"}
	}
	return sandbox.Finding{Name: name, State: sandbox.OK, Detail: "are used copy-on-write, by overlayfs"}
}

func stateFolder() sandbox.Finding {
	dir, err := stateDir()
	if err != nil {
		return sandbox.Finding{Name: "state folder", State: sandbox.Blocked, Detail: err.Error(), Remedy: "make it possible for this user to have that folder, with mode 0700"}
	}
	return sandbox.Finding{Name: "state folder", State: sandbox.OK, Detail: dir}
}

// oldest is the kernel that has all that a sandbox is made of: mount_setattr came last.
const oldestMajor, oldestMinor = 5, 12

func kernel() sandbox.Finding {
	f := sandbox.Finding{Name: "kernel", State: sandbox.OK, Detail: "Linux " + release()}
	if before(oldestMajor, oldestMinor) {
		f.State, f.Remedy = sandbox.Blocked, fmt.Sprintf("use Linux %d.%d or later", oldestMajor, oldestMinor)
	}
	return f
}

func release() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "of unknown version: " + err.Error()
	}
	return unix.ByteSliceToString(name.Release[:])
}

// before says whether the kernel is older than a version; one that cannot be read is not.
func before(major, minor int) bool {
	var x, y int
	n, _ := fmt.Sscanf(release(), "%d.%d", &x, &y)
	return n == 2 && (x < major || x == major && y < minor)
}

func user(root bool) sandbox.Finding {
	switch {
	case !root:
		return sandbox.Finding{Name: "user", State: sandbox.OK, Detail: fmt.Sprintf("%d; sandboxes have its id, each in a user namespace of its own", os.Geteuid())}
	case isPrivileged():
		return sandbox.Finding{Name: "user", State: sandbox.OK, Detail: "root; each sandbox has a user id of its own on the host"}
	}
	return sandbox.Finding{Name: "user", State: sandbox.Blocked, Detail: "root without CAP_SYS_ADMIN", Remedy: "run as an ordinary user, or give the container --cap-add SYS_ADMIN"}
}

func limits(ctx context.Context) sandbox.Finding {
	m := cgroup.Detect(ctx, cgroup.Options{RunID: "doctor", Scope: scope.Start})
	defer m.Close()
	f := sandbox.Finding{Name: "control groups", State: sandbox.OK, Detail: string(m.Mode)}
	var missing []string
	for _, c := range []string{"memory", "pids", "cpu"} {
		if !m.Enforces(c) {
			missing = append(missing, c)
		}
	}
	if len(missing) > 0 {
		f.State = sandbox.Weaker
		f.Detail = fmt.Sprintf("%s; approximated: %s", m.Mode, strings.Join(missing, ", "))
		f.Remedy = "run as root, or within a systemd user session, or have a control group delegated to you: " + m.Reason
	}
	return f
}

func filter() sandbox.Finding {
	if _, err := seccomp.Filter(seccomp.Options{}); err != nil {
		return sandbox.Finding{Name: "seccomp", State: sandbox.Blocked, Detail: err.Error(), Remedy: "report this"}
	}
	action := uint32(unix.SECCOMP_RET_KILL_PROCESS)
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action))); errno != 0 {
		return sandbox.Finding{Name: "seccomp", State: sandbox.Blocked, Detail: fmt.Sprintf("cannot be used: %v", errno), Remedy: "use a kernel with CONFIG_SECCOMP_FILTER"}
	}
	return sandbox.Finding{Name: "seccomp", State: sandbox.OK, Detail: "filters system calls"}
}

func landlock() sandbox.Finding {
	f := sandbox.Finding{Name: "landlock", State: sandbox.OK, Detail: "keeps sandboxes with network host from abstract unix sockets"}
	if !spawner.ScopesAbstractSockets() {
		f.State, f.Detail, f.Remedy = sandbox.Weaker, "abstract unix sockets are open to sandboxes with network host", "use Linux 6.12 or later with Landlock"
	}
	return f
}

func programs() []sandbox.Finding {
	env := hostfs.HostEnv()
	tree, err := hostfs.Discover(env)
	if err != nil {
		return []sandbox.Finding{{Name: "programs", State: sandbox.Blocked, Detail: err.Error(), Remedy: "use rootfs: DIR in recipes"}}
	}
	list := []sandbox.Finding{{Name: "PATH", State: sandbox.OK, Detail: tree.Path}}
	for _, note := range tree.Notes {
		list = append(list, sandbox.Finding{Name: "PATH", State: sandbox.OK, Detail: note})
	}
	changes := tree.Changed(env, interpreters...)
	var same []string
	for _, name := range interpreters {
		changed := slices.ContainsFunc(changes, func(c hostfs.Change) bool { return c.Name == name })
		if !changed && tree.Find(env, name) != "" {
			same = append(same, name)
		}
	}
	if len(same) > 0 {
		list = append(list, sandbox.Finding{Name: "programs", State: sandbox.OK, Detail: "in a sandbox as on the host: " + strings.Join(same, ", ")})
	}
	for _, c := range changes {
		f := sandbox.Finding{Name: c.Name, State: sandbox.Weaker, Detail: fmt.Sprintf("is %s on the host and %s in a sandbox", c.Host, c.Sandbox)}
		if c.Sandbox == "" {
			f.Detail = fmt.Sprintf("is %s on the host and not there in a sandbox", c.Host)
		}
		f.Remedy = "add its folder to local.mounts and to PATH of the recipe's env, or name the interpreter that is wanted"
		list = append(list, f)
	}
	return list
}
