package userns

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// probeName is the name under which this program runs itself to try what only a process in new namespaces can.
const probeName = "sbxrun-userns-probe"

func init() {
	if len(os.Args) > 0 && os.Args[0] == probeName {
		probe()
	}
}

// Check makes a process in the namespaces of a sandbox that mounts a tmpfs and a new /proc, which costs some ten
// milliseconds. It returns nil where all of that works and a *Blocked otherwise.
func Check() error {
	flags := uintptr(unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP)
	if !hasSysAdmin(statusField(read("/proc/self/status"), "CapEff")) {
		flags |= unix.CLONE_NEWUSER
	}
	out, err := runProbe(flags, flags&unix.CLONE_NEWUSER != 0)
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		step := StepClone
		if flags&unix.CLONE_NEWUSER != 0 {
			// The same without a mapping tells the two apart.
			if _, err := runProbe(flags, false); !errors.As(err, new(syscall.Errno)) {
				step = StepMap
			}
		}
		return Explain(step, errno)
	}
	var step, errno int
	if n, _ := fmt.Sscanf(out, "%d %d", &step, &errno); n == 2 {
		if errno == 0 {
			return nil
		}
		return Explain(Step(step), syscall.Errno(errno))
	}
	return fmt.Errorf("probe of namespaces: %w (it said %q)", err, out)
}

func runProbe(flags uintptr, mapped bool) (string, error) {
	var out bytes.Buffer
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{probeName}, Env: []string{}, Dir: "/", Stdout: &out}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	if mapped {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	err := cmd.Run()
	return out.String(), err
}

// probe says the step that failed and the error's number, or 0, and ends.
func probe() {
	say := func(step Step, err error) {
		var errno syscall.Errno
		errors.As(err, &errno)
		fmt.Printf("%d %d", step, errno)
		os.Exit(0)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		say(StepMount, err)
	}
	if err := unix.Mount("tmpfs", "/dev", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=4k"); err != nil {
		say(StepMount, err)
	}
	say(StepProc, unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""))
}
