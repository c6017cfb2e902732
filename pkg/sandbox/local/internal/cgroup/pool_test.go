package cgroup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// after returns the group that follows one of the same limits in which use happened.
func after(t *testing.T, l Limits, use func(g *Group)) (first, second *Group, p *Pool) {
	t.Helper()
	m := detect(t)
	if !m.Enforces("pids") || !m.Enforces("memory") {
		cannot(t, m)
	}
	p = &Pool{Manager: m}
	first, err := p.Get("first", l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, first) })
	use(first)
	if err := p.Put(context.Background(), first); err != nil {
		t.Fatal(err)
	}
	if second, err = p.Get("second", l); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, second) })
	return first, second, p
}

// shell runs a script in a group.
func shell(t *testing.T, g *Group, script string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", "read go\n"+script)
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	enter(t, g, cmd.Process.Pid)
	if _, err := stdin.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

var usual = Limits{Memory: 64 << 20, PIDs: 40}

func TestGroupsAreUsedAgain(t *testing.T) {
	first, second, p := after(t, usual, func(g *Group) { shell(t, g, "exit 0") })
	if first != second {
		t.Fatal("another group was made")
	}
	for _, l := range []Limits{{Memory: 65 << 20, PIDs: 40}, {Memory: 64 << 20, PIDs: 41}, {Memory: 64 << 20, PIDs: 40, CPU: 500}} {
		if err := p.Put(context.Background(), second); err != nil {
			t.Fatal(err)
		}
		g, err := p.Get("other", l)
		if err != nil {
			t.Fatal(err)
		}
		if g == second {
			t.Errorf("a group with %+v serves for %+v", second.limits, l)
		}
		remove(t, g)
		if g, err = p.Get("same", usual); err != nil || g != second {
			t.Errorf("it was not kept: %v", err)
		}
	}
}

// What limits did to the last user is not told of the next.
func TestCountersGoOn(t *testing.T) {
	first, second, _ := after(t, usual, func(g *Group) { _ = start(t, g, "eat").Wait() })
	if first != second {
		t.Fatal("another group was made")
	}
	before, err := second.Events()
	if err != nil || before.OOMKills == 0 {
		t.Fatalf("%+v, %v", before, err)
	}
	if u, err := second.Usage(); err != nil || u.Memory > usual.Memory/leftover || u.PIDs != 0 {
		t.Errorf("it begins with %+v, %v", u, err)
	}
	_ = start(t, second, "eat").Wait()
	if e, err := second.Events(); err != nil || e.OOMKills <= before.OOMKills {
		t.Errorf("%+v after %+v, %v", e, before, err)
	}
}

func TestWornGroupsAreNotUsedAgain(t *testing.T) {
	for name, use := range map[string]func(t *testing.T, g *Group){
		"a process": func(t *testing.T, g *Group) { start(t, g, "fork") },
		"a process that nobody waits for": func(t *testing.T, g *Group) {
			cmd := start(t, g, "fork")
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		},
		"no forks": func(t *testing.T, g *Group) {
			if err := errors.Join(g.SetPIDs(0), g.SetPIDs(usual.PIDs)); err != nil {
				t.Fatal(err)
			}
		},
		"memory": func(t *testing.T, g *Group) {
			dir := t.TempDir()
			if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
				if os.Getuid() == 0 {
					t.Fatal(err)
				}
				t.Skip("only root can make memory outlive its process: ", err)
			}
			t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
			shell(t, g, "head -c 8M /dev/zero > "+filepath.Join(dir, "zeros"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			first, second, _ := after(t, usual, func(g *Group) { use(t, g) })
			if first == second {
				t.Fatal("the group was used again")
			}
			for _, d := range first.dirs {
				if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s is still there: %v", d, err)
				}
			}
		})
	}
}

func TestPoolIsBounded(t *testing.T) {
	m := detect(t)
	if !m.Enforces("pids") {
		cannot(t, m)
	}
	p := &Pool{Manager: m}
	var groups []*Group
	for i := range maxFree + 2 {
		g, err := p.Get("g"+string(rune('A'+i)), usual)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { remove(t, g) })
		groups = append(groups, g)
	}
	for _, g := range groups {
		if err := p.Put(context.Background(), g); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.free) != maxFree {
		t.Errorf("%d are kept", len(p.free))
	}
	for i, g := range groups {
		if _, err := os.Stat(g.dirs[0]); (err == nil) != (i >= 2) {
			t.Errorf("group %d: %v", i, err)
		}
	}
}

func TestPoolOfNone(t *testing.T) {
	p := &Pool{Manager: &Manager{Mode: ModeNone}}
	g, err := p.Get("any", usual)
	if err == nil {
		err = p.Put(context.Background(), g)
	}
	if err != nil || len(p.free) != 0 {
		t.Errorf("%v, %d are kept", err, len(p.free))
	}
}
