package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A machine that has its controllers on v1 still has a v2 hierarchy, and often one controller in it that nobody uses.
// With that one in place of memory and pids the rules of v2 (no processes beside limited children, delegation, killing
// and entering by descriptor) are tried on the real kernel.
func TestDivideAGroupOfOurOwn(t *testing.T) {
	v2, _, err := hierarchies(0)
	if err != nil || v2 == nil || os.Getuid() != 0 {
		t.Skip("needs root and a v2 hierarchy")
	}
	have := words(v2.mount, "cgroup.controllers")
	if len(have) == 0 {
		t.Skip("the v2 hierarchy has no controller")
	}
	if c := have[0]; !slices.Contains(words(v2.mount, "cgroup.subtree_control"), c) {
		if err := write(v2.mount, "cgroup.subtree_control", "+"+c); err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { _ = write(v2.mount, "cgroup.subtree_control", "-"+c) })
	}
	base := filepath.Join(v2.mount, "test-divide-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(base, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rmtree(base); err != nil {
			t.Error(err)
		}
	})

	run := func(want string) {
		t.Helper()
		fd, err := unix.Open(base, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), role+"=divide", "CONTROLLER="+have[0])
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s, %v", out, err)
		}
	}
	run("is not delegated")
	if err := unix.Setxattr(base, "trusted.delegate", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	run("ok")
	if got := words(base, "cgroup.subtree_control"); len(got) != 0 {
		t.Errorf("left enabled: %v", got)
	}
	if _, err := os.Stat(filepath.Join(base, selfLeaf)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the leaf is still there")
	}
}

// divideAndTell runs in a group of its own: it divides it, uses it and undoes that.
func divideAndTell() {
	needed = []string{os.Getenv("CONTROLLER")}
	if err := tryDivide(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("ok")
}

func tryDivide() error {
	v2, _, err := hierarchies(0)
	if err != nil {
		return err
	}
	first, second := &Manager{Run: "first"}, &Manager{Run: "second"}
	if err := first.tryV2(*v2, v2.own, false); err != nil { // root would be given the top instead
		return err
	}
	if first.Self != filepath.Join(v2.own, selfLeaf) {
		return fmt.Errorf("self is %q", first.Self)
	}
	after, _, err := hierarchies(0)
	if err != nil {
		return err
	}
	if after.own != first.Self {
		return fmt.Errorf("this process is in %s", after.own)
	}
	if err := second.useV2(*after); err != nil { // finds the place that the first one prepared
		return fmt.Errorf("second: %w", err)
	}
	if second.Memory != first.Memory {
		return fmt.Errorf("second uses %s", second.Memory)
	}
	if err := useGroup(first); err != nil {
		return err
	}
	if err := first.Close(); err != nil { // the second still uses the place
		return err
	}
	if err := useGroup(second); err != nil {
		return fmt.Errorf("after the first has closed: %w", err)
	}
	return second.Close()
}

func useGroup(m *Manager) error {
	g, err := m.Create("x", Limits{})
	if err != nil {
		return err
	}
	defer g.Remove(context.Background())
	fd, err := unix.Open(g.Dir(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
	if err := cmd.Start(); err != nil {
		return err
	}
	if pids, err := g.Processes(); err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
		return fmt.Errorf("processes %v, %v", pids, err)
	}
	if err := g.Kill(); err != nil {
		return err
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		return fmt.Errorf("ended with %v", err)
	}
	return g.Remove(context.Background())
}

// What a manager writes on v2, read back from files that stand for the kernel's.
func TestV2Files(t *testing.T) {
	base := t.TempDir()
	g := &Group{v2: true, dirs: []string{base}, memory: base, pids: base, cpu: base}
	for _, f := range []string{"memory.max", "memory.swap.max", "pids.max", "cpu.max"} {
		if err := os.WriteFile(filepath.Join(base, f), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.limit(Limits{CPU: 250, Memory: 4096, PIDs: 3}); err != nil {
		t.Fatal(err)
	}
	for f, want := range map[string]string{"memory.max": "4096", "memory.swap.max": "0", "pids.max": "3", "cpu.max": "25000 100000"} {
		if got, err := os.ReadFile(filepath.Join(base, f)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", f, got, err)
		}
	}
	for f, text := range map[string]string{
		"memory.events": "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n", "pids.events": "max 7\n",
		"memory.current": "1234\n", "pids.current": "5\n", // a kernel without memory.peak
	} {
		if err := os.WriteFile(filepath.Join(base, f), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if e, err := g.Events(); err != nil || e != (Events{OOMKills: 2, PIDsMax: 7}) {
		t.Errorf("%+v, %v", e, err)
	}
	if u, err := g.Usage(); err != nil || u != (Usage{Memory: 1234, PIDs: 5}) {
		t.Errorf("%+v, %v", u, err)
	}
	if err := os.WriteFile(filepath.Join(base, "pids.events"), []byte("max lots\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Events(); err == nil {
		t.Error("no error for a number that is none")
	}
}
