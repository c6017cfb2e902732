package fake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// scriptDir holds the scripts of commands, outside the workspace.
const scriptDir = "/run/sbxrun"

// Exec runs a Program, or a shell script of Programs.
func (s *Sandbox) Exec(ctx context.Context, cmd sandbox.Command, stdout, stderr io.Writer) (sandbox.Result, error) {
	if err := s.check("exec"); err != nil {
		return sandbox.Result{}, err
	}
	if err := cmd.Check(); err != nil {
		return sandbox.Result{}, &sandbox.Error{Op: "exec", ID: s.id, Kind: sandbox.KindInvalid, Err: err}
	}
	if err := s.ready(ctx, "exec", ExecStart); err != nil {
		if s.died() && !s.released.Load() { // a Fault's Die: the command was on its way
			return sandbox.Result{Exit: 137, Signal: 9, SandboxDied: true}, nil
		}
		return sandbox.Result{}, err
	}
	dir, err := s.workdir(cmd.Dir)
	if err != nil {
		return sandbox.Result{}, err
	}
	s.p.count(&s.p.stats.Execs)
	g := newGroup(s, cmd, stdout, stderr)
	unhook := context.AfterFunc(ctx, func() { g.end(ending{err: context.Cause(ctx)}) })
	start := time.Now()
	exit := g.run(cmd, dir)
	duration := time.Since(start)
	unhook()
	res, err := g.finish(exit)
	res.Duration = duration
	if err == nil {
		if err = s.p.strike(ctx, ExecEnd, s); err != nil {
			return sandbox.Result{}, asError(ctx, "exec", s.id, sandbox.KindLost, err)
		}
		if s.died() && !s.released.Load() {
			res.SandboxDied = true
		}
	}
	return res, asError(ctx, "exec", s.id, sandbox.KindInternal, err)
}

// ready is what every method begins with: the sandbox stands, the context does, and the fault at its start.
func (s *Sandbox) ready(ctx context.Context, op string, at Point) error {
	if err := s.check(op); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := s.p.strike(ctx, at, s); err != nil {
		return asError(ctx, op, s.id, sandbox.KindInternal, err)
	}
	return s.check(op)
}

func (s *Sandbox) died() bool { return errors.Is(context.Cause(s.ctx), errDied) }

func (s *Sandbox) workdir(dir string) (string, error) {
	if dir == "" {
		return sandbox.Workspace, nil
	}
	v := s.disk()
	v.mu.Lock()
	defer v.mu.Unlock()
	at, err := v.lookup(absolute(sandbox.Workspace, dir), true)
	switch {
	case err == nil && at.node != nil && at.node.mode.IsDir():
		return at.path, nil
	case err == nil && at.node == nil:
		err = fs.ErrNotExist
	}
	if err == nil {
		err = syscall.ENOTDIR
	}
	kind := sandbox.KindInvalid
	if errors.Is(err, fs.ErrNotExist) {
		kind = sandbox.KindNotFound
	}
	return "", &sandbox.Error{Op: "exec", ID: s.id, Kind: kind, Err: fmt.Errorf("working directory %q: %w", dir, err)}
}

// environ returns the environment of a command as a lookup.
func environ(cmd sandbox.Command, dir string) map[string]string {
	env := map[string]string{
		"PATH": "/usr/bin:/bin", "HOME": sandbox.Workspace, "PWD": dir, "TMPDIR": "/tmp", "LANG": "C.UTF-8", "TZ": "UTC",
		"SBXRUN_WORKSPACE": sandbox.Workspace,
	}
	maps.Copy(env, cmd.Env)
	return env
}

// run runs the command and returns its status once it has ended, or was ended.
func (g *group) run(cmd sandbox.Command, dir string) int {
	p := &Process{Dir: dir, Stdin: bytes.NewReader(nil), Stdout: &g.stdout, Stderr: &g.stderr, Sandbox: g.s, group: g}
	if prog, args := g.s.p.short(cmd); prog != nil {
		p.Args, p.Env = args, func(name string) string { return environ(cmd, dir)[name] }
		return prog(g.ctx, p) & 0xff
	}
	env := environ(cmd, dir)
	p.Env = func(name string) string { return env[name] }
	p.environ = env
	p.Args = cmd.Argv
	if len(cmd.Script) > 0 {
		name := g.life.disk().addScript(cmd.Script)
		defer g.life.disk().dropScript(name)
		p.Args = append(slices.Clip(p.Args), name)
	}
	stdin, err := newStdin(cmd.Stdin)
	if err != nil {
		g.end(ending{err: err})
		return 0
	}
	p.Stdin = stdin
	stop := context.AfterFunc(g.killed, stdin.Close) // a process that waits for input is to end too
	defer stop()
	defer stdin.Close()
	return p.exec(g.ctx)
}

// short returns the program of a command that is one word of a script, or an argument vector, without a shell's
// syntax and without stdin: what a run of no-op cases consists of. It saves the interpreter, which costs more than the rest.
func (p *Provider) short(cmd sandbox.Command) (Program, []string) {
	if cmd.Stdin != nil || len(cmd.Argv) == 0 {
		return nil, nil
	}
	args := cmd.Argv
	if len(cmd.Script) > 0 {
		if shells[path.Base(args[0])] == nil || len(cmd.Script) > 64 || len(args) > 1 && (args[1] != "-e" || len(args) > 2) {
			return nil, nil
		}
		line := strings.TrimSuffix(string(cmd.Script), "\n")
		if strings.ContainsFunc(line, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != ' '
		}) {
			return nil, nil
		}
		if args = strings.Fields(line); len(args) == 0 {
			return nil, nil
		}
	}
	if instant[args[0]] == nil || p.opts.Programs[args[0]] != nil {
		return nil, nil
	}
	return instant[args[0]], args
}
