package golden

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// process is the sbxrun that a script started in the background, and what was seen of it.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
	seen           []identity // all that descended from it at the census
}

type processKey struct{}

func of(ts *testscript.TestScript) *process { return ts.Value(processKey{}).(*process) }

// start ARG...: starts the binary in the background. The commands signal, ends, census and gone are about it.
func start(ts *testscript.TestScript, neg bool, args []string) {
	p := of(ts)
	if neg || p.cmd != nil {
		ts.Fatalf("usage: start ARG..., once in a script")
	}
	p.cmd = exec.Command(filepath.Join(binary, "sbxrun"), args...)
	p.cmd.Dir = ts.MkAbs(".")
	p.cmd.Env = append(os.Environ(), "TERM=dumb", "HOME="+ts.Getenv("HOME"), "TMPDIR="+ts.Getenv("TMPDIR"))
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	ts.Check(p.cmd.Start())
	ts.Defer(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
}

// signal NAME: sends INT, TERM, HUP or KILL to it.
func signal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL}
	if neg || len(args) != 1 || signals[args[0]] == 0 {
		ts.Fatalf("usage: signal INT|TERM|HUP|KILL")
	}
	ts.Check(of(ts).cmd.Process.Signal(signals[args[0]]))
}

// crash: SIGKILL to it and, at the same moment, to its children, which would have taken its sandboxes down.
func crash(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: crash")
	}
	p := of(ts)
	ts.Check(p.cmd.Process.Signal(syscall.SIGSTOP)) // it starts no others now
	var children []int
	for _, id := range descendants(p.cmd.Process.Pid) {
		if _, parent, ok := stat(id.pid); ok && parent == p.cmd.Process.Pid {
			children = append(children, id.pid)
		}
	}
	for _, pid := range append(children, p.cmd.Process.Pid) {
		ts.Check(syscall.Kill(pid, syscall.SIGKILL))
	}
}

// ends STATUS: waits until it has ended, which must be with STATUS ("killed" for a death by SIGKILL). What it printed
// is then seen by stdout and stderr.
func ends(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ends STATUS")
	}
	p := of(ts)
	timer := time.AfterFunc(5*time.Minute, func() { _ = p.cmd.Process.Signal(syscall.SIGQUIT) })
	_ = p.cmd.Wait()
	timer.Stop()
	fmt.Fprint(ts.Stdout(), p.stdout.String())
	fmt.Fprint(ts.Stderr(), p.stderr.String())
	got := strconv.Itoa(p.cmd.ProcessState.ExitCode())
	if p.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		got = "killed"
	}
	if got != args[0] {
		ts.Fatalf("exit status %s, want %s", got, args[0])
	}
}

// peak MIB: what has ended never held more memory than this, nor did what it waited for.
func peak(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: peak MIB")
	}
	most, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	used := of(ts).cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss >> 10
	ts.Logf("%d MiB", used)
	if used > most {
		ts.Fatalf("%d MiB of memory, at most %d are wanted", used, most)
	}
}

// appears FILE RE [COUNT]: waits until RE is found in FILE, COUNT times.
func appears(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: appears FILE RE [COUNT]")
	}
	want := 1
	if len(args) == 3 {
		var err error
		want, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	re := regexp.MustCompile(args[1])
	got := 0
	if !within(time.Minute, func() bool {
		data, _ := os.ReadFile(ts.MkAbs(args[0]))
		got = len(re.FindAll(data, -1))
		return got >= want
	}) {
		ts.Fatalf("%s is in %s %d times, want %d", args[1], args[0], got, want)
	}
}

// identity is a process that no later one with the same id is taken for.
type identity struct {
	pid   int
	start string
}

// census MIN: waits until MIN processes descend from it, and notes them.
func census(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: census MIN")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	p := of(ts)
	if !within(time.Minute, func() bool {
		p.seen = descendants(p.cmd.Process.Pid)
		return len(p.seen) >= want
	}) {
		ts.Fatalf("%d processes descend from sbxrun, want %d at least", len(p.seen), want)
	}
}

// gone DIR: nothing is left of the run in DIR, two seconds from now at the latest: none of the processes of the
// census, no control group, no mount, no state.
func gone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gone DIR")
	}
	data, err := os.ReadFile(ts.MkAbs(filepath.Join(args[0], "events.jsonl")))
	ts.Check(err)
	match := regexp.MustCompile(`"id":"([a-z0-9-]+)"`).FindSubmatch(data)
	if match == nil {
		ts.Fatalf("%s holds no run", args[0])
	}
	run, p := string(match[1]), of(ts)
	var left []string
	if !within(2*time.Second, func() bool {
		left = leftovers(run, ts.Getenv("TMPDIR"), p.seen)
		return len(left) == 0
	}) {
		ts.Fatalf("left of run %s:\n%s", run, strings.Join(left, "\n"))
	}
}

func leftovers(run, tmp string, seen []identity) []string {
	var left []string
	for _, id := range seen {
		if now, _, ok := stat(id.pid); ok && now == id {
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", id.pid))
			left = append(left, fmt.Sprintf("process %d %q", id.pid, name))
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, run) {
			left = append(left, "mount "+line)
		}
	}
	for _, root := range []string{"/sys/fs/cgroup", "/run/sbxrun", fmt.Sprintf("/tmp/sbxrun-%d", os.Getuid()), tmp,
		filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "sbxrun")} {
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && strings.Contains(d.Name(), run) {
				left = append(left, path)
			}
			return nil // what cannot be read is not ours
		})
	}
	return left
}

// descendants are the processes below pid.
func descendants(pid int) []identity {
	children := map[int][]identity{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			if id, parent, ok := stat(n); ok {
				children[parent] = append(children[parent], id)
			}
		}
	}
	var all []identity
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		for _, id := range children[queue[0]] {
			all = append(all, id)
			queue = append(queue, id.pid)
		}
	}
	return all
}

// stat is the identity and the parent of a process, from /proc/PID/stat (see proc(5)); false if it is no more, a zombie
// included.
func stat(pid int) (identity, int, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return identity{}, 0, false
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	parent, _ := strconv.Atoi(fields[1])
	return identity{pid, fields[19]}, parent, !slices.Contains([]string{"Z", "X"}, fields[0])
}

func within(limit time.Duration, f func() bool) bool {
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		if f() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}
