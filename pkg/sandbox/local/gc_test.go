package local

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// runVar makes this test a run of its own, which another test kills.
const runVar = "SBXRUN_TEST_RUN"

// TestRunOfItsOwn has a sandbox of each isolation, busy, says so, and uses them whenever it is told a line.
func TestRunOfItsOwn(t *testing.T) {
	id, dir, ok := strings.Cut(os.Getenv(runVar), " ")
	if !ok {
		t.Skip("another test runs this as a process of its own")
	}
	p := open(t, sandbox.Run{ID: id, Dir: dir})
	var boxes []sandbox.Sandbox
	use := func(argv ...string) {
		for _, b := range boxes {
			if res, err := b.Exec(t.Context(), sandbox.Command{Argv: argv}, nil, nil); err != nil || res.Exit != 0 {
				t.Fatalf("%+v, %v", res, err)
			}
		}
	}
	for _, spec := range []sandbox.Spec{{}, noIsolation} {
		b, err := p.Acquire(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		boxes = append(boxes, b)
	}
	use("sh", "-c", "sleep 1000 >/dev/null 2>&1 & setsid sleep 1000 >/dev/null 2>&1 &")
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		use("true")
		fmt.Println("usable")
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// process is a run in a process of its own.
type process struct {
	t   *testing.T
	id  string
	dir string
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startRun(t *testing.T) *process {
	t.Helper()
	p := &process{t: t, id: runID(t), dir: t.TempDir(), cmd: exec.Command("/proc/self/exe", "-test.run", "^TestRunOfItsOwn$")}
	p.cmd.Env = append(os.Environ(), runVar+"="+p.id+" "+p.dir)
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	p.await("ready")
	return p
}

func (p *process) await(line string) {
	p.t.Helper()
	for p.out.Scan() {
		if p.out.Text() == line {
			return
		}
		p.t.Log(p.out.Text())
	}
	p.t.Fatalf("the run ended before it said %q", line)
}

// kill ends the run and what would clean up after it, at once.
func (p *process) kill() {
	p.t.Helper()
	var spawner int
	for _, pid := range children(p.t, p.cmd.Process.Pid) {
		if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.HasPrefix(string(name), "sbxrun-spawner") {
			spawner = pid
		}
	}
	if spawner == 0 {
		p.t.Fatal("the run has no spawner")
	}
	for _, s := range []struct {
		pid int
		sig unix.Signal
	}{{spawner, unix.SIGSTOP}, {p.cmd.Process.Pid, unix.SIGKILL}, {spawner, unix.SIGKILL}} {
		if err := unix.Kill(s.pid, s.sig); err != nil {
			p.t.Fatal(err)
		}
	}
	_ = p.cmd.Wait()
}

func children(t *testing.T, pid int) (list []int) {
	t.Helper()
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, name := range names {
		b, _ := os.ReadFile(name)
		for f := range strings.FieldsSeq(string(b)) {
			if n, err := strconv.Atoi(f); err == nil {
				list = append(list, n)
			}
		}
	}
	return list
}

// groupsOf returns the control groups of a run, in all hierarchies.
func groupsOf(run string) (list []string) {
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), "sbxrun-"+run+".") {
			list = append(list, path)
		}
		return nil
	})
	return list
}

func bareOf(t *testing.T, run string) *bareRecord {
	t.Helper()
	state, err := stateDir()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(runLock(state, run))
	if err != nil {
		t.Fatal(err)
	}
	r := readBareRecord(data)
	if r == nil {
		t.Fatalf("no record of bare sandboxes in %q", data)
	}
	return r
}

func TestGC(t *testing.T) {
	killed, living := startRun(t), startRun(t)
	bare := bareOf(t, killed.id)
	livingBare := bareOf(t, living.id)
	killed.kill()
	if signalMarked(bare.owns, 0) != 2 {
		t.Error("the kill left nothing to remove, so this tests nothing")
	}
	had := len(groupsOf(living.id))
	if (len(groupsOf(killed.id)) > 0) != (had > 0) {
		t.Error("the kill left no control group, so this tests nothing")
	}

	removed, err := GC(t.Context())
	if err != nil {
		t.Error(err)
	}
	t.Log(strings.Join(removed, "\n"))
	for _, line := range removed {
		if strings.Contains(line, living.id) || strings.Contains(line, living.dir) {
			t.Errorf("%s was removed while it lives", line)
		}
	}
	want := []string{"2 processes of run " + killed.id, "folder " + bare.Folder, "record of run " + killed.id}
	if had > 0 {
		want = append(want, "control groups of run "+killed.id)
	}
	for _, line := range want {
		if !slices.Contains(removed, line) {
			t.Errorf("%q was not removed", line)
		}
	}
	if left := groupsOf(killed.id); len(left) > 0 || signalMarked(bare.owns, 0) > 0 {
		t.Errorf("of the killed run is left: %q", left)
	}
	if left, _ := os.ReadDir(killed.dir); len(left) > 0 {
		t.Errorf("of the killed run is left: %v", left)
	}
	if again, err := GC(t.Context()); err != nil || strings.Contains(strings.Join(again, "\n"), killed.id) {
		t.Errorf("the second time: %q, %v", again, err)
	}

	if n := signalMarked(livingBare.owns, 0); n != 2 {
		t.Errorf("%d processes of the living run, want 2", n)
	}
	if len(groupsOf(living.id)) != had {
		t.Error("control groups of the living run are gone")
	}
	fmt.Fprintln(living.in, "use")
	living.await("usable")
	living.in.Close()
	if err := living.cmd.Wait(); err != nil {
		t.Error(err)
	}
	if left := groupsOf(living.id); len(left) > 0 || signalMarked(livingBare.owns, 0) > 0 {
		t.Errorf("a run that ended by itself left %q", left)
	}
}

func TestGCAsOrdinaryUser(t *testing.T) { asOrdinaryUser(t, "TestGC") }

// A run that gets its lock while gc looks at it waits for gc.
func TestOwnWaitsForGC(t *testing.T) {
	state, id := t.TempDir(), "id"
	f, err := own(state, id)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := own(state, id); err == nil {
		other.Close()
		t.Error("two runs have one lock")
	}
	f.Close()
	dead, err := deadRuns(state)
	if err != nil || dead[id] == nil {
		t.Fatalf("dead runs %v, %v", dead, err)
	}
	time.AfterFunc(50*time.Millisecond, func() {
		_ = os.Remove(dead[id].Name())
		dead[id].Close()
	})
	if f, err = own(state, id); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if dead, err := deadRuns(state); err != nil || len(dead) > 0 {
		t.Errorf("the lock is not held: %v, %v", dead, err)
	}
	if err := disown(f); err != nil {
		t.Error(err)
	}
}
