package local

import (
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/cgroup"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/hostfs"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/seccomp"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/spawner"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/userns"
)

// Finding is one thing that Examine found out about the machine.
type Finding struct {
	Name   string // what was looked at, such as "user namespaces"
	State  State
	Detail string // one line: what was found
	Remedy string // what to do about it; empty where there is nothing to do
}

// State says what a Finding means.
type State string

// The states of a Finding.
const (
	OK      State = "ok"
	Weaker  State = "weaker"  // sandboxes work, with something approximated
	Blocked State = "blocked" // sandboxes cannot be made
)

// interpreters are the programs of which Examine tells what a sandbox finds instead of the host's.
var interpreters = []string{"python3", "python", "node", "ruby", "perl", "java", "go", "rustc", "cargo", "gcc"}

// Examine says what this machine can do for local sandboxes.
func Examine(ctx context.Context) []Finding {
	root := os.Geteuid() == 0
	list := []Finding{kernel(), user(root)}
	if !root {
		f := Finding{Name: "user namespaces", State: OK, Detail: "can be made"}
		if err := userns.Check(); err != nil {
			f.State, f.Detail = Blocked, err.Error()
		}
		list = append(list, f)
	}
	list = append(list, limits(ctx), filter(), landlock())
	return append(list, programs()...)
}

// oldest is the kernel that has all that a sandbox is made of: mount_setattr came last.
const oldestMajor, oldestMinor = 5, 12

func kernel() Finding {
	f := Finding{Name: "kernel", State: OK}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return Finding{Name: "kernel", State: Blocked, Detail: err.Error()}
	}
	release := unix.ByteSliceToString(name.Release[:])
	f.Detail = "Linux " + release
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n == 2 && (major < oldestMajor || major == oldestMajor && minor < oldestMinor) {
		f.State, f.Remedy = Blocked, fmt.Sprintf("use Linux %d.%d or later", oldestMajor, oldestMinor)
	}
	return f
}

func user(root bool) Finding {
	switch {
	case !root:
		return Finding{Name: "user", State: OK, Detail: fmt.Sprintf("uid %d; sandboxes have its id, in a user namespace each", os.Geteuid())}
	case isPrivileged():
		return Finding{Name: "user", State: OK, Detail: "root; each sandbox has a user id of its own on the host"}
	}
	return Finding{Name: "user", State: Blocked, Detail: "root without CAP_SYS_ADMIN", Remedy: "run as an ordinary user, or give the container --cap-add SYS_ADMIN"}
}

func limits(ctx context.Context) Finding {
	m := cgroup.Detect(ctx, cgroup.Options{RunID: "doctor"})
	defer m.Close()
	f := Finding{Name: "control groups", State: OK, Detail: string(m.Mode)}
	var missing []string
	for _, c := range []string{"memory", "pids", "cpu"} {
		if !m.Enforces(c) {
			missing = append(missing, c)
		}
	}
	if len(missing) > 0 {
		f.State = Weaker
		f.Detail = fmt.Sprintf("%s; approximated: %s (%s)", m.Mode, strings.Join(missing, ", "), m.Reason)
		f.Remedy = "run as root, or within a systemd user session, or have a control group delegated to you"
	}
	return f
}

func filter() Finding {
	if _, err := seccomp.Filter(seccomp.Options{}); err != nil {
		return Finding{Name: "seccomp", State: Blocked, Detail: err.Error()}
	}
	if _, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0); err != nil {
		return Finding{Name: "seccomp", State: Blocked, Detail: "not in this kernel", Remedy: "use a kernel with CONFIG_SECCOMP_FILTER"}
	}
	return Finding{Name: "seccomp", State: OK, Detail: "filters system calls"}
}

func landlock() Finding {
	f := Finding{Name: "landlock", State: OK, Detail: "keeps sandboxes with network host from abstract unix sockets"}
	if !spawner.ScopesAbstractSockets() {
		f.State, f.Detail, f.Remedy = Weaker, "abstract unix sockets are open to sandboxes with network host", "use Linux 6.12 or later with Landlock"
	}
	return f
}

func programs() []Finding {
	env := hostfs.HostEnv()
	tree, err := hostfs.Discover(env)
	if err != nil {
		return []Finding{{Name: "programs", State: Blocked, Detail: err.Error()}}
	}
	list := []Finding{{Name: "PATH", State: OK, Detail: tree.Path}}
	for _, note := range tree.Notes {
		list = append(list, Finding{Name: "PATH", State: OK, Detail: note})
	}
	for _, c := range tree.Changed(env, interpreters...) {
		f := Finding{Name: c.Name, State: Weaker, Detail: fmt.Sprintf("is %s on the host and %s in a sandbox", c.Host, c.Sandbox)}
		if c.Sandbox == "" {
			f.Detail = fmt.Sprintf("is %s on the host and not there in a sandbox", c.Host)
		}
		f.Remedy = "add its folder to local.mounts and to PATH of the recipe's env, or name the interpreter that is wanted"
		list = append(list, f)
	}
	return list
}
