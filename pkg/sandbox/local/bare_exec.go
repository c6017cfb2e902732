package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/wire"
)

// markVar is in the environment of everything that a command starts, unless it hides it: what it started is found by it.
const markVar = "SBXRUN_COMMAND"

// Exec runs a command on the host.
func (b *bare) Exec(ctx context.Context, cmd sandbox.Command, stdout, stderr io.Writer) (sandbox.Result, error) {
	if err := b.check(ctx, "exec"); err != nil {
		return sandbox.Result{}, err
	}
	if err := validCommand(cmd); err != nil {
		return sandbox.Result{}, &sandbox.Error{Op: "exec", ID: b.id, Kind: sandbox.KindInvalid, Err: err}
	}
	st, err := openStreams(cmd, stdout, stderr)
	if err != nil {
		return sandbox.Result{}, &sandbox.Error{Op: "exec", ID: b.id, Kind: sandbox.KindInternal, Err: err}
	}
	defer st.close()
	mark := fmt.Sprintf("%s.%d.", b.id, b.next.Add(1))
	ch, err := b.start(cmd, st, mark)
	st.closeTheirs()
	if err != nil {
		return sandbox.Result{}, wrap(ctx, "exec", b.id, err)
	}
	st.run()
	kill := func(sig unix.Signal) int { return signalMarked(mark, sig) }
	a, end := supervise(ctx, cmd, st, ch, b.released, kill)
	if end.released {
		return sandbox.Result{}, b.errReleased("exec")
	}
	if err := st.drain(); err != nil {
		return sandbox.Result{}, wrap(ctx, "exec", b.id, err)
	}
	if end.cancelled {
		return sandbox.Result{}, context.Cause(ctx)
	}
	return result(*a.reply.Ended, end), nil
}

// start starts a command; its end comes on the channel.
func (b *bare) start(cmd sandbox.Command, st *streams, mark string) (chan answer, error) {
	argv := cmd.Argv
	if len(cmd.Script) > 0 {
		name := filepath.Join(b.scripts(), strconv.FormatInt(b.next.Add(1), 10))
		if err := os.WriteFile(name, cmd.Script, 0o700); err != nil {
			return nil, err
		}
		argv = append(slices.Clone(argv), name)
	}
	dir := b.absolute(cmd.Dir)
	if info, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil, &sandbox.Error{Kind: sandbox.KindNotFound, Err: fmt.Errorf("working directory %q does not exist", cmd.Dir)}
	} else if err != nil || !info.IsDir() {
		return nil, invalid("working directory %q: not a folder that can be entered", cmd.Dir)
	}
	env := map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": b.workspace(), "PWD": dir, "TMPDIR": b.tmp(), "LANG": "C.UTF-8", "TZ": "UTC",
		"SBXRUN_WORKSPACE": b.workspace(),
	}
	maps.Copy(env, cmd.Env)
	env[markVar] = mark
	list := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, k+"="+env[k])
	}
	theirs := st.theirs
	attr := &syscall.ProcAttr{Dir: dir, Env: list, Sys: &syscall.SysProcAttr{Setsid: true}}
	if cmd.Stdin == nil {
		null, err := os.Open(os.DevNull)
		if err != nil {
			return nil, err
		}
		defer null.Close()
		attr.Files = []uintptr{null.Fd()}
	}
	for _, fd := range theirs {
		attr.Files = append(attr.Files, uintptr(fd))
	}
	ch := make(chan answer, 1)
	begin := time.Now()
	program, err := find(argv[0], env["PATH"], dir)
	pid := 0
	if err == nil {
		pid, err = syscall.ForkExec(program, argv, attr)
	}
	if err != nil { // as a shell would say it
		status, why := 126, "cannot be executed"
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, exec.ErrNotFound) {
			status, why = 127, "not found"
		}
		line := fmt.Sprintf("sbxrun: %s: %s\n", argv[0], why)
		if _, err := unix.Write(theirs[len(theirs)-1], []byte(line)); err != nil {
			return nil, err
		}
		ch <- answer{reply: wire.Reply{Ended: &wire.Ended{Status: status << 8}}}
		return ch, nil
	}
	go func() {
		var ws unix.WaitStatus
		var usage unix.Rusage
		for {
			if _, err := unix.Wait4(pid, &ws, 0, &usage); err != unix.EINTR {
				break
			}
		}
		ch <- answer{reply: wire.Reply{Ended: &wire.Ended{
			Status: int(ws), Duration: time.Since(begin), MaxRSS: usage.Maxrss << 10,
			CPU: time.Duration(usage.Utime.Nano() + usage.Stime.Nano()),
		}}}
	}()
	return ch, nil
}

// find looks a program up as a shell in dir would.
func find(name, search, dir string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	found := error(exec.ErrNotFound)
	for _, d := range filepath.SplitList(search) {
		p := filepath.Join(d, name)
		if !filepath.IsAbs(p) {
			p = filepath.Join(dir, p)
		}
		info, err := os.Stat(p)
		switch {
		case err != nil || info.IsDir():
		case info.Mode()&0o111 == 0:
			found = os.ErrPermission
		default:
			return p, nil
		}
	}
	return "", found
}

// signalMarked signals the processes whose mark begins like this, and says how many there were. For KILL it goes on until
// none is left.
func signalMarked(mark string, sig unix.Signal) int {
	want := []byte(markVar + "=" + mark)
	for range 1000 {
		hits := 0
		entries, _ := os.ReadDir("/proc")
		for _, e := range entries {
			pid, err := strconv.Atoi(e.Name())
			if err != nil {
				continue
			}
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				continue
			}
			env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
			if err == nil && (bytes.HasPrefix(env, want) || bytes.Contains(env, append([]byte{0}, want...))) &&
				unix.PidfdSendSignal(fd, sig, nil, 0) == nil {
				hits++
			}
			unix.Close(fd)
		}
		if hits == 0 || sig != unix.SIGKILL {
			return hits
		}
		time.Sleep(time.Millisecond)
	}
	return 0
}
