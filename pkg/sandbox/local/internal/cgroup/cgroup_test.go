package cgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// role says what a run of the test binary by itself has to do inside a group.
const role = "SBXRUN_CGROUP_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "":
		os.Exit(m.Run())
	case "eat": // memory, until killed
		waitForGo()
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			kept = append(kept, b)
		}
	case "fork": // processes, until refused
		waitForGo()
		for range 200 {
			if err := exec.Command("sleep", "60").Start(); err != nil {
				fmt.Println("refused")
				select {}
			}
		}
		fmt.Println("not refused")
	case "bomb": // processes that make processes
		waitForGo()
		for {
			if exec.Command("/proc/self/exe").Start() != nil {
				time.Sleep(time.Millisecond)
			}
		}
	case "divide":
		divideAndTell()
	case "systemd":
		if err := useScope(); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("ok")
	case "detect":
		fmt.Print(Detect(context.Background(), Options{RunID: "other"}).Reason)
	}
}

var kept [][]byte

// waitForGo returns when the parent has put this process into its group.
func waitForGo() { _, _ = bufio.NewReader(os.Stdin).ReadString('\n') }

// detect returns the Manager of this machine. Without any place for groups there is nothing to test them with.
func detect(t *testing.T) *Manager {
	t.Helper()
	m := Detect(context.Background(), Options{RunID: "test" + strconv.Itoa(os.Getpid())})
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	if m.Mode == ModeNone {
		cannot(t, m)
	}
	return m
}

// cannot skips a test where there are no control groups for it. Where there have to be some (SBXRUN_REQUIRE_CGROUPS, for
// root) it fails: a Detect that finds none would else pass.
func cannot(t testing.TB, m *Manager) {
	t.Helper()
	if os.Getuid() == 0 && os.Getenv("SBXRUN_REQUIRE_CGROUPS") != "" {
		t.Fatal("control groups are required here: " + m.Reason)
	}
	t.Skip("no control groups here: " + m.Reason)
}

func create(t *testing.T, m *Manager, name string, l Limits) *Group {
	t.Helper()
	g, err := m.Create(name, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, g) })
	return g
}

func remove(t *testing.T, g *Group) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := g.Remove(ctx); err != nil {
		t.Error(err)
	}
	for _, d := range g.dirs {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there", d)
		}
	}
}

// start runs the test binary in a role inside a group.
func start(t *testing.T, g *Group, as string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), role+"="+as)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	enter(t, g, cmd.Process.Pid)
	fmt.Fprintln(stdin)
	return cmd
}

// enter moves a process with all its threads, of which a Go program has several; JoinFiles are for a thread that moves
// itself.
func enter(t *testing.T, g *Group, pid int) {
	t.Helper()
	for _, dir := range g.dirs {
		if err := os.WriteFile(dir+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// eventually waits for a condition for at most 20 s.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal(what)
}

func TestMemoryLimitKillsAndCounts(t *testing.T) {
	m := detect(t)
	if !m.Enforces("memory") {
		cannot(t, m)
	}
	g := create(t, m, "eat", Limits{Memory: 64 << 20})
	cmd := start(t, g, "eat")
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("ended with %v", err)
	}
	e, err := g.Events()
	if err != nil || e.OOMKills < 1 {
		t.Errorf("events %+v, %v", e, err)
	}
	u, err := g.Usage()
	if err != nil || u.MemoryPeak > 65<<20 || m.Mode == ModeV1 && u.MemoryPeak < 32<<20 {
		t.Errorf("usage %+v, %v", u, err)
	}
}

func TestPIDsLimitRefusesAndCounts(t *testing.T) {
	m := detect(t)
	if !m.Enforces("pids") {
		cannot(t, m)
	}
	g := create(t, m, "fork", Limits{PIDs: 40})
	start(t, g, "fork")
	eventually(t, "no fork was refused", func() bool {
		e, err := g.Events()
		if err != nil {
			t.Fatal(err)
		}
		return e.PIDsMax > 0
	})
	if u, err := g.Usage(); err != nil || u.PIDs < 20 || u.PIDs > 40 {
		t.Errorf("usage %+v, %v", u, err)
	}
	if e, err := g.Events(); err != nil || e.OOMKills != 0 {
		t.Errorf("events %+v, %v", e, err)
	}
}

func TestNames(t *testing.T) {
	m := &Manager{Mode: ModeNone, Run: "r"}
	for _, name := range []string{"", "/", "a/b", "../x", "a\nb", "a\x00b"} {
		if _, err := m.Create(name, Limits{}); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
	for name, want := range map[string]string{"sbxrun-a-1.x": "a-1", "sbxrun-a.b.c": "a", "sbxrun-self": "", "sbxrun-r..": "r", "sbxrun-.x": "", "other": "", "sbxrun-": ""} {
		if got, ok := runOf(name); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q, %t", name, got, ok)
		}
	}
}

func TestTheSameNameTwice(t *testing.T) {
	m := detect(t)
	g := create(t, m, "twice", Limits{})
	if _, err := m.Create("twice", Limits{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v", err)
	}
	for _, d := range g.dirs {
		if _, err := os.Stat(d); err != nil {
			t.Errorf("the first one is gone: %v", err)
		}
	}
}

// Forks that go on while they are being killed do not save anyone.
func TestRemoveEndsAForkBomb(t *testing.T) {
	m := detect(t)
	if !m.Enforces("pids") {
		cannot(t, m)
	}
	g := create(t, m, "bomb", Limits{PIDs: 100, Memory: 512 << 20})
	start(t, g, "bomb")
	eventually(t, "the bomb does not grow", func() bool {
		e, err := g.Events()
		if err != nil {
			t.Fatal(err)
		}
		return e.PIDsMax > 10
	})
	remove(t, g)
	remove(t, g)
	if pids, err := g.Processes(); err != nil || len(pids) != 0 {
		t.Errorf("left: %v, %v", pids, err)
	}
}

func TestRemoveTellsWhatStays(t *testing.T) {
	m := detect(t)
	g := create(t, m, "stays", Limits{})
	// A frozen or uninterruptible process cannot be had at will; a group that is not ours to empty stands for one.
	sub := g.dirs[0] + "/sub"
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if err := os.WriteFile(sub+"/cgroup.procs", []byte(strconv.Itoa(cmd.Process.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	if m.Mode == ModeV1 {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if err := g.Remove(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), g.dirs[0]) {
			t.Errorf("error %v", err)
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func TestSweepTakesOnlyTheDead(t *testing.T) {
	m := detect(t)
	dead := *m
	dead.Run, dead.hold = m.Run+"-dead", nil
	living := create(t, m, "one", Limits{})
	g, err := dead.Create("two", Limits{CPU: 500})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, g) })
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	enter(t, g, cmd.Process.Pid)
	waited := make(chan error, 1)
	go func() { waited <- cmd.Wait() }()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	// Groups of others who test at the same time are not ours to judge.
	runs, err := m.Sweep(ctx, func(run string) bool { return run != dead.Run })
	if err != nil || len(runs) != 1 || runs[0] != dead.Run {
		t.Errorf("swept %v, %v", runs, err)
	}
	if err := <-waited; err == nil {
		t.Error("its process was not killed")
	}
	for _, d := range g.dirs {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there", d)
		}
	}
	if _, err := os.Stat(living.dirs[0]); err != nil {
		t.Error(err)
	}
}

// A killed run's groups are found wherever they are, in a place that a Manager of now would not look at.
func TestSweepAllLooksEverywhere(t *testing.T) {
	m := detect(t)
	dead := *m
	dead.Run, dead.hold = m.Run+"-elsewhere", nil
	places := &Group{v2: m.Mode == ModeV2}
	for _, dir := range []*string{&dead.Memory, &dead.PIDs, &dead.CPU} {
		if *dir == "" {
			continue
		}
		*dir += "/test-" + m.Run
		if !places.has(*dir) {
			if err := os.Mkdir(*dir, 0o755); err != nil {
				t.Fatal(err)
			}
			places.dirs = append(places.dirs, *dir)
		}
	}
	t.Cleanup(func() { remove(t, places) })
	g, err := dead.Create("x", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, g) })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	runs, err := SweepAll(ctx, func(run string) bool { return run != dead.Run })
	if err != nil || len(runs) != 1 || runs[0] != dead.Run {
		t.Errorf("swept %v, %v", runs, err)
	}
	for _, d := range g.dirs {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there", d)
		}
	}
}

func TestModeNoneDoesNothing(t *testing.T) {
	m := &Manager{Mode: ModeNone, Run: "r"}
	g, err := m.Create("a", Limits{Memory: 1, PIDs: 1, CPU: 1})
	if err != nil || len(g.JoinFiles()) != 0 || g.Dir() != "" {
		t.Fatalf("%+v, %v", g, err)
	}
	e, err1 := g.Events()
	u, err2 := g.Usage()
	p, err3 := g.Processes()
	_, err4 := m.Sweep(context.Background(), func(string) bool { return false })
	if err := errors.Join(err1, err2, err3, err4, g.Kill(), g.Remove(context.Background()), m.Close()); err != nil || e != (Events{}) || u != (Usage{}) || p != nil {
		t.Error(e, u, p, err)
	}
	for _, c := range []string{"memory", "pids", "cpu", "io"} {
		if m.Enforces(c) {
			t.Errorf("enforces %s", c)
		}
	}
}

func TestOrdinaryUserGetsAReason(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("becoming another user needs root")
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Dir, cmd.Env = "/", []string{role + "=detect"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "v1:") || !strings.Contains(string(out), "systemd:") {
		t.Errorf("%s, %v", out, err)
	}
}

func BenchmarkCreateEnterRemove(b *testing.B) {
	m := Detect(context.Background(), Options{RunID: "bench"})
	if m.Mode == ModeNone {
		cannot(b, m)
	}
	defer m.Close()
	for b.Loop() {
		b.StopTimer()
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		g, err := m.Create("x", Limits{CPU: 1000, Memory: 1 << 30, PIDs: 256})
		if err != nil {
			b.Fatal(err)
		}
		for _, f := range g.JoinFiles() {
			if err := os.WriteFile(f, []byte(strconv.Itoa(cmd.Process.Pid)), 0); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		b.StartTimer()
		if err := g.Remove(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
