// Package userns explains why this machine does not let this process make the namespaces of a sandbox, and what to do
// about it. It decides nothing on the way to a working sandbox: Explain is for after a real attempt failed, Check for a
// report on the machine.
package userns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Step is what was being done when the kernel refused.
type Step int

// The steps, in the order in which a sandbox takes them.
const (
	StepClone Step = iota // make the namespaces
	StepMap               // write uid_map and gid_map
	StepMount             // mount a tmpfs, or bind a folder, in the new mount namespace
	StepProc              // mount a new /proc
)

var stepNames = [...]string{"making namespaces", "mapping user ids", "mounting in a new namespace", "mounting a new /proc"}

func (s Step) String() string {
	if s < 0 || int(s) >= len(stepNames) {
		return fmt.Sprintf("step %d", int(s))
	}
	return stepNames[s]
}

// Blocked is why sandboxes cannot be made here.
type Blocked struct {
	Step    Step
	Blocker string // what stands in the way
	Remedy  string // what to do, as commands where there are some
	Err     error  // the kernel's answer
}

func (b *Blocked) Error() string {
	return fmt.Sprintf("%s: %v: %s; %s", b.Step, b.Err, b.Blocker, b.Remedy)
}

func (b *Blocked) Unwrap() error { return b.Err }

// Explain finds out why a step failed with err. It looks at the machine, which takes a few milliseconds, and always
// returns a *Blocked; where it finds no cause it says what it looked at.
func Explain(step Step, err error) error {
	return facts().explain(step, err)
}

// machine is what Explain looks at.
type machine struct {
	uid int
	// Sysctls, empty where the kernel does not have them. otherMax is the name of another limit on namespaces that is 0.
	maxUser, clone, apparmor, otherMax string
	// profile is the AppArmor profile that confines this process, empty if none does.
	profile string
	exe     string // this program

	hasUserNS    bool // the kernel has user namespaces
	sysAdmin     bool // this process has CAP_SYS_ADMIN
	seccomp      bool // a seccomp filter is in force
	selinux      bool // SELinux enforces
	chroot       bool
	maskedProc   bool
	insideUserNS bool // this process is in a user namespace other than the first
}

func facts() machine {
	status, mounts := read("/proc/self/status"), read("/proc/self/mountinfo")
	m := machine{
		uid:        os.Geteuid(),
		maxUser:    read("/proc/sys/user/max_user_namespaces"),
		clone:      read("/proc/sys/kernel/unprivileged_userns_clone"),
		apparmor:   read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
		hasUserNS:  exists("/proc/self/ns/user"),
		sysAdmin:   hasSysAdmin(statusField(status, "CapEff")),
		seccomp:    statusField(status, "Seccomp") == "2",
		selinux:    read("/sys/fs/selinux/enforce") == "1",
		chroot:     chrooted(mounts),
		maskedProc: masked(mounts),
	}
	for _, kind := range []string{"mnt", "pid", "net", "ipc", "uts", "cgroup"} {
		if read("/proc/sys/user/max_"+kind+"_namespaces") == "0" {
			m.otherMax = "user.max_" + kind + "_namespaces"
		}
	}
	if read("/sys/module/apparmor/parameters/enabled") == "Y" {
		if p := read("/proc/self/attr/current"); !strings.HasPrefix(p, "unconfined") {
			m.profile = p
		}
	}
	uidMap := strings.Fields(read("/proc/self/uid_map"))
	m.insideUserNS = !slices.Equal(uidMap, []string{"0", "0", "4294967295"})
	m.exe, _ = os.Executable()
	return m
}

func (m machine) explain(step Step, err error) *Blocked {
	b := &Blocked{Step: step, Err: err}
	b.Blocker, b.Remedy = m.cause(step, err)
	return b
}

func (m machine) cause(step Step, err error) (blocker, remedy string) {
	switch {
	case step == StepClone && (!m.hasUserNS || errors.Is(err, unix.EINVAL)):
		return "this kernel has no user namespaces (CONFIG_USER_NS)", "use a kernel that has them, or run as root"
	case m.maxUser == "0":
		return "user.max_user_namespaces is 0", "as root: sysctl -w user.max_user_namespaces=15000"
	case errors.Is(err, unix.ENOSPC) && m.otherMax != "":
		return m.otherMax + " is 0", "as root: sysctl -w " + m.otherMax + "=15000"
	case errors.Is(err, unix.ENOSPC):
		return "a limit on namespaces (user.max_user_namespaces and the like) or on their nesting (32) is reached",
			"end what holds them, or as root: sysctl -w user.max_user_namespaces=15000"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return m.denier(step)
	}
	return "the cause is not known", m.evidence()
}

// denier says who denied a step, the surest sign first.
func (m machine) denier(step Step) (blocker, remedy string) {
	switch {
	case m.clone == "0" && !m.sysAdmin:
		return "kernel.unprivileged_userns_clone is 0", "as root: sysctl -w kernel.unprivileged_userns_clone=1"
	case step == StepProc && m.maskedProc:
		return "a container masks parts of /proc, and the kernel then refuses a new /proc inside",
			"start the container with --security-opt systempaths=unconfined (Docker), --security-opt unmask=ALL (Podman) or " +
				"securityContext.procMount: Unmasked (Kubernetes)"
	case step == StepClone && m.chroot:
		return "sbxrun runs in a chroot, where the kernel refuses user namespaces", "run it outside of the chroot"
	case step == StepClone && m.seccomp:
		return "the seccomp filter of the container or service around sbxrun refuses it",
			"start the container with --security-opt seccomp=unconfined or a profile that allows clone, unshare and mount " +
				"(Docker, Podman) or securityContext.seccompProfile.type: Unconfined (Kubernetes); the service without " +
				"RestrictNamespaces= (systemd)"
	case m.profile != "":
		return "the AppArmor profile " + m.profile + " confines sbxrun",
			"start the container with --security-opt apparmor=unconfined, or allow userns and mount in the profile"
	case m.apparmor == "1" && !m.sysAdmin:
		return "AppArmor keeps unconfined programs from using user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)",
			"as root, give sbxrun a profile: " + m.newProfile() + "; or: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
	case m.seccomp && step != StepMap:
		return "the seccomp filter of the container or service around sbxrun refuses it",
			"start the container with --security-opt seccomp=unconfined (Docker, Podman)"
	case m.selinux:
		return "SELinux refuses it", "look for the denial with ausearch -m avc -ts recent, and allow user_namespace create for sbxrun's domain"
	case step == StepMap && m.insideUserNS:
		return "this user id is not mapped in the user namespace around sbxrun", "run sbxrun as a user that /proc/self/uid_map lists"
	}
	return "the kernel or a security module refuses it", m.evidence()
}

// newProfile is the command that gives sbxrun an AppArmor profile with user namespaces.
func (m machine) newProfile() string {
	exe := m.exe
	if exe == "" {
		exe = "/path/to/sbxrun"
	}
	return fmt.Sprintf(`printf 'abi <abi/4.0>,\nprofile sbxrun "%s" flags=(unconfined) {\n  userns,\n}\n' > /etc/apparmor.d/sbxrun && apparmor_parser -r /etc/apparmor.d/sbxrun`, exe)
}

// evidence is for a cause that nobody foresaw.
func (m machine) evidence() string {
	value := func(s string) string {
		if s == "" {
			return "absent"
		}
		return s
	}
	return fmt.Sprintf("report this with: uid %d, user.max_user_namespaces %s, kernel.unprivileged_userns_clone %s, "+
		"kernel.apparmor_restrict_unprivileged_userns %s, seccomp filter %t, SELinux %t, chroot %t, inside a user namespace %t",
		m.uid, value(m.maxUser), value(m.clone), value(m.apparmor), m.seccomp, m.selinux, m.chroot, m.insideUserNS)
}

func read(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil || !errors.Is(err, fs.ErrNotExist)
}
