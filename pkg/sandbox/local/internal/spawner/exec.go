package spawner

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/rawclone"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/wire"
)

// step is a command that runs.
type step struct {
	pid, pidfd int
	mark       uint64
}

// exec runs a command and returns when its main process has ended. It owns files.
func (s *server) exec(seq uint64, req wire.Exec, files []int) (*wire.Ended, error) {
	defer s.started(seq)
	b, err := s.find(req.ID)
	if err != nil {
		wire.CloseAll(files)
		return nil, err
	}
	defer b.users.Done()
	st := &step{mark: b.newMark()}
	b.mu.Lock()
	first := !b.used
	b.used = true
	b.mu.Unlock()
	before, err := b.hits()
	if err != nil { // its group may have had others, of which the counters tell too
		wire.CloseAll(files)
		return nil, fmt.Errorf("command: %w", err)
	}
	start := time.Now()
	c, err := b.startStep(req, st, files)
	wire.CloseAll(files)
	if err != nil {
		return b.notStarted(err, req, before, first)
	}
	defer c.Close()
	defer unix.Close(st.pidfd)
	b.mu.Lock()
	b.steps[seq], b.bySeq[seq] = st, st.mark
	b.mu.Unlock()
	s.started(seq)
	var usage unix.Rusage
	ws := waitEnd(st.pidfd, st.pid, &usage)
	end := time.Now()
	b.mu.Lock()
	delete(b.steps, seq)
	b.mu.Unlock()
	if err := c.Failure(); err != nil {
		return b.notStarted(err, req, before, first)
	}
	res := &wire.Ended{
		Status:   int(ws),
		CPU:      time.Duration(usage.Utime.Nano() + usage.Stime.Nano()),
		MaxRSS:   usage.Maxrss << 10,
		Duration: end.Sub(start),
	}
	if ws.Signaled() && ws.Signal() == unix.SIGKILL {
		// The command may have been killed by the end of the sandbox, which the kernel tells a moment later.
		select {
		case <-b.gone:
		case <-time.After(2 * time.Millisecond):
		}
		res.Died = b.died()
	}
	if ws != 0 {
		if b.approx.pids {
			b.lookAtPIDs(1) // with the one that has just ended
			if c.Refused() == unix.EAGAIN {
				b.approx.full.Add(1)
			}
		}
		res.Limit = b.struck(before, res.Died)
	} else if b.approx.ooms.Load() > before.seen {
		res.Limit = sandbox.LimitOOM // it ended while it was to be killed
	}
	return res, nil
}

// notStarted is how a command ends that did not begin; first is one before which nothing ran in the sandbox. What a dying
// sandbox does to it is the sandbox's end.
func (b *box) notStarted(err error, req wire.Exec, before hits, first bool) (*wire.Ended, error) {
	if cannotEnter(err) {
		b.awaitEnd()
	}
	err = b.stepError(err, req, first)
	if b.died() {
		return &wire.Ended{Status: int(unix.SIGKILL), Died: true, Limit: b.struck(before, true)}, nil
	}
	return nil, err
}

// started lets signals through to a command, or says that it will not run.
func (s *server) started(seq uint64) {
	if ch, ok := s.starting.LoadAndDelete(seq); ok {
		close(ch.(chan struct{}))
	}
}

// struck says which limit of the sandbox was hit since before.
func (b *box) struck(before hits, died bool) sandbox.Limit {
	after, err := b.hits()
	var full unix.Statfs_t
	switch {
	case err != nil:
		return sandbox.LimitNone
	case after.ooms > before.ooms:
		return sandbox.LimitOOM
	case after.pids > before.pids:
		return sandbox.LimitPIDs
	case !died && unix.Fstatfs(b.disk, &full) == nil && (full.Bavail == 0 || full.Ffree == 0):
		return sandbox.LimitDisk
	}
	return sandbox.LimitNone
}

// nextMark returns the number that marks a command's processes; see mark.
func (s *server) nextMark() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks++
	return firstMark - s.marks
}

// newMark returns the mark of a new command.
func (b *box) newMark() uint64 {
	m := b.server.nextMark()
	b.mu.Lock()
	b.marks[m] = true
	b.mu.Unlock()
	return m
}

// startStep starts the main process of a command.
func (b *box) startStep(req wire.Exec, st *step, files []int) (*rawclone.Child, error) {
	want := 2
	if req.Stdin {
		want = 3
	}
	if len(files) != want || len(req.Argv) == 0 {
		return nil, fmt.Errorf("a command with %d arguments came with %d files", len(req.Argv), len(files))
	}
	for _, fd := range files { // so that /dev/stdout can be opened
		if err := unix.Fchown(fd, b.slot.uid, b.slot.gid); err != nil {
			return nil, err
		}
	}
	var p rawclone.Program
	defer p.Free()
	b.enter(&p)
	p.Call("own session", unix.SYS_SETSID)
	argv := req.Argv
	if len(req.Script) > 0 {
		argv = append(slices.Clone(argv), b.script(&p, req.Script))
	}
	b.limits(&p, st)
	b.becomeNobody(&p)
	dir := absolute(req.Dir)
	p.Call(callChdir, unix.SYS_CHDIR, dir)
	if req.Stdin {
		p.Call("stdin", unix.SYS_DUP3, files[0], 0, 0)
		files = files[1:]
	} else {
		p.Call("stdin", unix.SYS_OPENAT, unix.AT_FDCWD, "/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0).Save(regA)
		p.Call("stdin", unix.SYS_DUP3, regA, 0, 0)
	}
	p.Call("stdout", unix.SYS_DUP3, files[0], 1, 0)
	p.Call("stderr", unix.SYS_DUP3, files[1], 2, 0)
	p.Call("timer slack", unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, timerSlackDefault, 0, 0, 0)
	p.Call("umask", unix.SYS_UMASK, 0o022)
	most := min(uint64(b.spec.Limits.Files), b.server.host.openFiles) // last, since entering needs more than a few
	p.Call("limit of open files", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, rawclone.Bytes(&unix.Rlimit{Cur: most, Max: most}), 0)
	p.ResetSignals(true)
	b.server.walls.put(&p, &b.spec, b.approx.cpu && b.spec.Limits.CPU > 0)
	env := b.environ(req, dir)
	name := argv[0]
	p.Exec(lookup(name, env["PATH"]), argv, Flatten(env), refusals(name))
	c, err := p.StartIn(b.pidfd)
	if err != nil {
		return nil, err
	}
	st.pid = c.PID
	if st.pidfd, err = unix.PidfdOpen(c.PID, unix.PIDFD_NONBLOCK); err != nil {
		unix.Kill(c.PID, unix.SIGKILL)
		_, _ = rawclone.Wait(c.PID, nil)
		c.Close()
		return nil, err
	}
	return c, nil
}

const (
	callChdir = "working directory"
	callEnter = "enter the sandbox"
	callJoin  = "join the control group"
)

// cannotEnter says whether an error is one that a sandbox gives which is gone, or going.
func cannotEnter(err error) bool {
	e, ok := errors.AsType[*rawclone.Error](err)
	return ok && (e.Name == callEnter || e.Name == rawclone.CallClone)
}

// enter adds the calls that bring a process into the sandbox, as its user's superior still.
func (b *box) enter(p *rawclone.Program) {
	// What runs in a sandbox is to be killed for memory before what runs beside it.
	p.Call("oom score", unix.SYS_OPENAT, unix.AT_FDCWD, "/proc/self/oom_score_adj", unix.O_WRONLY|unix.O_CLOEXEC, 0).Save(regA).Ignore()
	p.Call("oom score", unix.SYS_WRITE, regA, "500", 3).Ignore()
	// Joining is never refused, also where the group has reached its limit of processes and a fork in it would be.
	for _, fd := range b.joins {
		p.Call(callJoin, unix.SYS_WRITE, fd, "0", 1)
	}
	flags := unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP
	if b.slot.refused == nil {
		flags |= unix.CLONE_NEWUSER
	}
	if b.spec.Network != sandbox.NetworkHost {
		flags |= unix.CLONE_NEWNET
	}
	p.Call(callEnter, unix.SYS_SETNS, b.pidfd, flags)
}

// limits sets what the kernel limits for each process, and the mark.
func (b *box) limits(p *rawclone.Program, st *step) {
	set := func(name string, resource int, value uint64) {
		p.Call(name, unix.SYS_PRLIMIT64, 0, resource, rawclone.Bytes(&unix.Rlimit{Cur: value, Max: value}), 0)
	}
	set("limit of core dumps", unix.RLIMIT_CORE, 0)
	// What the kernel counts by user is shared, by an ordinary user's sandboxes, with all that runs for the user.
	set("limit of pending signals", unix.RLIMIT_SIGPENDING, b.server.host.perUser.signals)
	set("limit of message queues", unix.RLIMIT_MSGQUEUE, b.server.host.perUser.queues)
	set("mark", markLimit, st.mark)
	b.approx.apply(p, b.spec.Limits, b.init)
}

// becomeNobody turns the process into the sandbox's user for good.
func (b *box) becomeNobody(p *rawclone.Program) {
	for c := 0; c <= b.server.host.lastCap; c++ {
		p.Call("drop capabilities", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0, 0, 0)
	}
	b.becomeUser(p)
	p.Call("no new privileges", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// script puts a script into a file and returns its path. The name comes from the content, so that it is the same in
// every run and messages that tell it can be compared; the rename makes that right for commands that run at once.
func (b *box) script(p *rawclone.Program, content []byte) string {
	sum := sha256.Sum256(content)
	name := hex.EncodeToString(sum[:4])
	own := fmt.Sprintf("%s.%d", name, b.server.nextMark())
	p.Call(callScript, unix.SYS_OPENAT, b.scripts, own, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o555).Save(regA)
	p.Write(callScript, regA, content)
	p.Call(callScript, unix.SYS_CLOSE, regA)
	p.Call(callScript, unix.SYS_RENAMEAT, b.scripts, own, b.scripts, name)
	return scripts + "/" + name
}

const callScript = "write the script"

// stepError gives the failure of a call before the command its kind.
func (b *box) stepError(err error, req wire.Exec, first bool) error {
	e, ok := errors.AsType[*rawclone.Error](err)
	if !ok {
		return fmt.Errorf("command: %w", err)
	}
	switch {
	case e.Name == callChdir && e.Errno == unix.ENOENT:
		return kinded(sandbox.KindNotFound, "working directory %q does not exist", req.Dir)
	case e.Name == callChdir:
		return kinded(sandbox.KindInvalid, "working directory %q: %w", req.Dir, e.Errno)
	case e.Errno == unix.ENOSPC:
		return kinded(sandbox.KindNoSpace, "command: %w", err)
	case b.isReleased():
		return kinded(sandbox.KindReleased, "the sandbox was released")
	case !first && e.Name != callJoin && !cannotEnter(err):
		// What runs in the sandbox may lower the limits of a process that enters it, and may have taken all the memory.
		return kinded(sandbox.KindInvalid, "command: %w", err)
	}
	return fmt.Errorf("command: %w", err)
}

func (b *box) isReleased() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.released
}

// environ is the base environment with what the command adds.
func (b *box) environ(req wire.Exec, dir string) map[string]string {
	env := map[string]string{
		"PATH": b.shape.path, "HOME": sandbox.Workspace, "PWD": dir, "TMPDIR": "/tmp", "LANG": "C.UTF-8", "TZ": "UTC",
		"SBXRUN_WORKSPACE": sandbox.Workspace,
	}
	maps.Copy(env, req.Env)
	return env
}

// Flatten makes an environment as execve takes it, sorted by name.
func Flatten(env map[string]string) []string {
	list := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, k+"="+env[k])
	}
	return list
}

// refusals are what is said on stderr, as a shell does, where a program is not executed.
func refusals(name string) []rawclone.Refusal {
	errnos := []unix.Errno{unix.ENOENT, unix.EACCES, unix.E2BIG, unix.ENOEXEC, unix.ETXTBSY, unix.EAGAIN, 0}
	list := make([]rawclone.Refusal, len(errnos))
	for i, errno := range errnos {
		status, line := Refusal(name, errno)
		list[i] = rawclone.Refusal{Errno: errno, Status: status, Line: line}
	}
	return list
}

// Refusal is the exit status of a program that the kernel did not execute, and the line on stderr that says why.
func Refusal(name string, errno unix.Errno) (status int, line string) {
	status, text := 126, "cannot be executed"
	switch errno {
	case unix.ENOENT:
		status, text = 127, "not found"
	case unix.EACCES:
		text = "permission denied"
	case unix.E2BIG:
		text = "argument list too long, with the environment: pass by stdin or files what is long"
	case unix.ENOEXEC:
		text = "cannot be executed: neither a program for this machine nor a script with a #! line"
	case unix.ETXTBSY:
		text = "cannot be executed: it is open for writing"
	case unix.EAGAIN:
		text = "cannot be executed: there are more processes than limits.pids allows"
	}
	return status, "sbxrun: " + name + ": " + text + "\n"
}

// lookup returns the paths at which a program may be.
func lookup(name, search string) []string {
	if strings.Contains(name, "/") {
		return []string{name}
	}
	var paths []string
	for dir := range strings.SplitSeq(search, ":") {
		if dir == "" {
			dir = "."
		}
		paths = append(paths, dir+"/"+name)
	}
	return paths
}

func absolute(p string) string {
	if path.IsAbs(p) {
		return path.Clean(p)
	}
	return path.Join(sandbox.Workspace, p)
}

// hasNUL says whether a string cannot be passed to the kernel.
func hasNUL(ss ...string) bool {
	return slices.ContainsFunc(ss, func(s string) bool { return strings.IndexByte(s, 0) >= 0 })
}
