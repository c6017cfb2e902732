package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/rawclone"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/spawner"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/wire"
)

// Exec runs a command on the host.
func (b *bare) Exec(ctx context.Context, cmd sandbox.Command, stdout, stderr io.Writer) (sandbox.Result, error) {
	if err := b.check(ctx, "exec"); err != nil {
		return sandbox.Result{}, err
	}
	if err := cmd.Check(); err != nil {
		return sandbox.Result{}, &sandbox.Error{Op: "exec", ID: b.id, Kind: sandbox.KindInvalid, Err: err}
	}
	st, err := openStreams(cmd, stdout, stderr)
	if err != nil {
		return sandbox.Result{}, &sandbox.Error{Op: "exec", ID: b.id, Kind: sandbox.KindInternal, Err: err}
	}
	defer st.close()
	mark, err := b.p.bare.next()
	var ch chan answer
	if err == nil {
		ch, err = b.start(cmd, st, mark)
	}
	st.closeTheirs()
	if err != nil {
		return sandbox.Result{}, wrap(ctx, "exec", b.id, err)
	}
	st.run()
	kill := func(sig unix.Signal) int {
		return signalMarked(func(m uint64) bool { return m == mark }, sig)
	}
	a, end := supervise(ctx, cmd, st, ch, b.released, kill)
	if end.released {
		return sandbox.Result{}, b.errReleased("exec")
	}
	reply, _, err := a.result()
	if err == nil {
		err = st.drain()
		end.lateLimit(st)
	}
	switch {
	case ctx.Err() != nil && end.cancelled:
		return sandbox.Result{}, context.Cause(ctx)
	case err != nil:
		return sandbox.Result{}, wrap(ctx, "exec", b.id, err)
	}
	return result(*reply.Ended, end), nil
}

// start starts a command; its end comes on the channel.
func (b *bare) start(cmd sandbox.Command, st *streams, mark uint64) (chan answer, error) {
	b.starting.Lock() // so that Release knows every command there is
	defer b.starting.Unlock()
	if b.over {
		return nil, b.errReleased("exec")
	}
	b.marks[mark] = true
	argv := cmd.Argv
	if len(cmd.Script) > 0 {
		name := filepath.Join(b.scripts(), strconv.FormatUint(mark, 36))
		if err := os.WriteFile(name, cmd.Script, 0o700); err != nil {
			return nil, err
		}
		argv = append(slices.Clone(argv), name)
	}
	dir, err := b.enterable(cmd.Dir)
	if err != nil {
		return nil, err
	}
	env := spawner.Flatten(b.environ(cmd, dir))
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	attr := &syscall.ProcAttr{Dir: dir, Env: env, Sys: &syscall.SysProcAttr{Setsid: true}}
	if cmd.Stdin == nil {
		attr.Files = []uintptr{null.Fd()}
	}
	for _, fd := range st.theirs {
		attr.Files = append(attr.Files, uintptr(fd))
	}
	search, ok := cmd.Env["PATH"]
	if !ok {
		search = os.Getenv("PATH")
	}
	begin, pid := time.Now(), 0
	refusal := error(syscall.ENOENT)
	err = marked(mark, func() error {
		for _, program := range candidates(argv[0], search, dir) {
			p, err := syscall.ForkExec(program, argv, attr)
			switch {
			case err == nil:
				pid = p
				return nil
			case errors.Is(err, syscall.EACCES):
				refusal = err
			case !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENOTDIR):
				refusal = err
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	ch := make(chan answer, 1)
	if pid == 0 {
		status, err := refuse(argv[0], refusal, st.theirs[len(st.theirs)-1])
		ch <- answer{reply: wire.Reply{Ended: &wire.Ended{Status: status << 8, Duration: time.Since(begin)}}}
		return ch, err
	}
	go func() {
		var usage unix.Rusage
		ws, err := rawclone.Wait(pid, &usage)
		ch <- answer{err: err, reply: wire.Reply{Ended: &wire.Ended{
			Status: int(ws), Duration: time.Since(begin), MaxRSS: usage.Maxrss << 10,
			CPU: time.Duration(usage.Utime.Nano() + usage.Stime.Nano()),
		}}}
	}()
	return ch, nil
}

// enterable returns the absolute path of a working directory.
func (b *bare) enterable(dir string) (string, error) {
	abs := b.absolute(dir)
	info, err := os.Stat(abs)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", &sandbox.Error{Kind: sandbox.KindNotFound, Err: fmt.Errorf("working directory %q does not exist", dir)}
	case err != nil:
		return "", invalid("working directory %q: %w", dir, err)
	case !info.IsDir():
		return "", invalid("working directory %q is not a folder", dir)
	}
	if err := unix.Access(abs, unix.X_OK); err != nil {
		return "", invalid("working directory %q: %w", dir, err)
	}
	return abs, nil
}

// environ is the base environment, with the host's PATH, and what the command adds. Nothing else of the host's is in it.
func (b *bare) environ(cmd sandbox.Command, dir string) map[string]string {
	env := map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": b.workspace(), "PWD": dir, "TMPDIR": b.tmp(), "LANG": "C.UTF-8", "TZ": "UTC",
		"SBXRUN_WORKSPACE": b.workspace(),
	}
	maps.Copy(env, cmd.Env)
	return env
}

// candidates are the files that a program's name may mean, as to a shell in dir. Those that are not there are left out,
// since each that is tried costs a process.
func candidates(name, search, dir string) (list []string) {
	if strings.Contains(name, "/") {
		return []string{name}
	}
	for d := range strings.SplitSeq(search, ":") {
		p := filepath.Join(d, name)
		if !filepath.IsAbs(p) {
			p = filepath.Join(dir, p)
		}
		if info, err := os.Stat(p); err == nil && !info.IsDir() {
			list = append(list, p)
		}
	}
	return list
}

// refuse says on stderr, as a shell does, why a program was not run, and returns the exit status. What could not run any
// program is an error.
func refuse(name string, why error, stderr int) (status int, err error) {
	errno, _ := errors.AsType[syscall.Errno](why)
	switch errno {
	case syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE:
		return 0, fmt.Errorf("start %s: %w", name, why)
	}
	status, line := spawner.Refusal(name, errno)
	// The pipe is empty and its other end open: the line fits.
	_, err = unix.Write(stderr, []byte(line))
	return status, err
}
