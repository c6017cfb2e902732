package fake

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// exec finds the program of p and runs it, with the exit status of a POSIX shell where there is none.
func (p *Process) exec(ctx context.Context) int {
	complain := func(status int, format string, args ...any) int {
		fmt.Fprintf(p.Stderr, "%s: %s\n", p.Args[0], fmt.Sprintf(format, args...))
		return status
	}
	if len(p.Args) == 0 || p.Args[0] == "" {
		fmt.Fprintln(p.Stderr, "no command given")
		return 127
	}
	at, n, err := p.find(p.Args[0])
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENAMETOOLONG):
		return complain(127, "not found")
	case err != nil:
		return complain(126, "%v", err)
	}
	if n.prog != "" {
		return p.Sandbox.p.program(n.prog)(ctx, p) & 0xff
	}
	head, _, _ := bytes.Cut(n.data[:min(len(n.data), 256)], []byte("\n"))
	line, script := strings.CutPrefix(string(head), "#!")
	words := strings.Fields(line)
	if !script || len(words) == 0 {
		return complain(126, "exec format error")
	}
	p.Args = slices.Concat(words, []string{at}, p.Args[1:])
	return p.exec(ctx)
}

// find looks a program up as execvp does.
func (p *Process) find(name string) (string, *inode, error) {
	v := p.disk()
	dirs := []string{""}
	if !strings.Contains(name, "/") {
		dirs = strings.Split(p.Env("PATH"), ":")
	}
	var refused error
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, dir := range dirs {
		full := name
		if dir != "" {
			full = dir + "/" + name
		}
		at, err := v.lookup(absolute(p.Dir, full), true)
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			refused = err
		case err != nil || at.node == nil:
		case at.node.mode.IsDir() || at.node.mode&0o111 == 0:
			refused = fs.ErrPermission
		default:
			return absolute(p.Dir, full), at.node, nil
		}
	}
	return "", nil, cmp.Or(refused, fs.ErrNotExist)
}

// sh is the shell: sh [-eux] [-o NAME] [-c SCRIPT | FILE] [ARG...].
func sh(ctx context.Context, p *Process) int {
	args, flags, inline := p.Args[1:], []string(nil), false
	for len(args) > 0 && len(args[0]) > 1 && (args[0][0] == '-' || args[0][0] == '+') {
		flag := args[0]
		args = args[1:]
		if flag == "--" {
			break
		}
		letters := strings.ReplaceAll(flag[1:], "c", "")
		inline = inline || len(letters) < len(flag)-1
		for _, l := range letters {
			flags = append(flags, flag[:1]+string(l))
			if l == 'o' && len(args) > 0 {
				flags, args = append(flags, args[0]), args[1:]
			}
		}
	}
	name, src := p.Args[0], p.Stdin
	switch {
	case inline && len(args) == 0:
		fmt.Fprintf(p.Stderr, "%s: -c wants a script\n", name)
		return 2
	case inline:
		src, args = strings.NewReader(args[0]), args[1:]
		if len(args) > 0 {
			name, args = args[0], args[1:]
		}
	case len(args) > 0:
		f, err := p.open(args[0], os.O_RDONLY, 0)
		if err != nil {
			fmt.Fprintf(p.Stderr, "%s: %v\n", name, err)
			return 127
		}
		src, name, args = f, args[0], args[1:]
	}
	return p.interpret(ctx, src, name, slices.Concat(flags, []string{"--"}, args))
}

// builtin runs what the interpreter has built in and a POSIX system also has as a program, such as printf.
func builtin(ctx context.Context, p *Process) int {
	return p.interpret(ctx, strings.NewReader(`"$@"`), p.Args[0], append([]string{"--"}, p.Args...))
}

// interpret runs a script as the process p.
func (p *Process) interpret(ctx context.Context, src io.Reader, name string, params []string) int {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(src, name)
	if err != nil {
		fmt.Fprintln(p.Stderr, err)
		return 2
	}
	p.noteBackground(file)
	stdin, _ := p.Stdin.(*stdin)
	r, err := interp.New(interp.Env(expand.ListEnviron(p.exported()...)), interp.StdIO(stdin.file(), p.Stdout, p.Stderr), interp.Params(params...),
		interp.CallHandler(p.call), interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return p.spawn }),
		interp.OpenHandler(func(ctx context.Context, name string, flag int, perm os.FileMode) (io.ReadWriteCloser, error) {
			return p.disk().open(absolute(interp.HandlerCtx(ctx).Dir, name), flag, perm)
		}),
		interp.ReadDirHandler2(func(_ context.Context, dir string) ([]fs.DirEntry, error) { return p.disk().readDir(dir) }),
		interp.StatHandler(func(_ context.Context, name string, follow bool) (fs.FileInfo, error) {
			return p.disk().stat(name, follow)
		}),
		interp.AccessHandler(func(_ context.Context, name string, mode interp.AccessMode) error {
			return p.disk().access(name, fs.FileMode(mode))
		}))
	if err != nil {
		fmt.Fprintf(p.Stderr, "%s: %v\n", name, err)
		return 2
	}
	r.Dir = p.Dir // interp.Dir would look for it on the host
	err = r.Run(ctx, file)
	if body := p.group.trapped(); body != nil {
		ctx, cancel := context.WithCancel(p.Sandbox.ctx)
		defer cancel()
		defer context.AfterFunc(p.group.killed, cancel)()
		trap, perr := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(*body), name)
		if perr != nil {
			fmt.Fprintln(p.Stderr, perr)
			return 2
		}
		err = r.Run(ctx, trap)
	}
	if err == nil {
		return 0
	}
	status, ok := errors.AsType[interp.ExitStatus](err)
	if !ok {
		return 1 // cut off; whoever did it says how
	}
	return int(status)
}

// noteBackground remembers that something may outlive the command.
func (p *Process) noteBackground(file *syntax.File) {
	syntax.Walk(file, func(n syntax.Node) bool {
		if st, ok := n.(*syntax.Stmt); ok && st.Background {
			p.group.outlives()
		}
		return true
	})
}

// call redirects the builtins that would look at the host, or that the interpreter does not know.
func (p *Process) call(_ context.Context, args []string) ([]string, error) {
	switch {
	case args[0] == "command" && len(args) > 2 && args[1] == "-v":
		return append([]string{"which"}, args[2:]...), nil
	case args[0] == "type":
		return append([]string{"which"}, args[1:]...), nil
	case args[0] == "kill", args[0] == "echo", args[0] == "pwd": // not there; overlooks write errors; asks the host
		args[0] = "/bin/" + args[0]
	case args[0] == "trap" && len(args) > 2 && slices.Contains(args[2:], "TERM"):
		p.group.setTrap(args[1])
		return []string{"true"}, nil
	}
	return args, nil
}

// spawn runs a program for the interpreter.
func (p *Process) spawn(ctx context.Context, args []string) error {
	h := interp.HandlerCtx(ctx)
	env := map[string]string{}
	h.Env.Each(func(name string, v expand.Variable) bool {
		if v.Exported && v.IsSet() {
			env[name] = v.String()
		} else {
			delete(env, name)
		}
		return true
	})
	env["PWD"] = h.Dir
	child := &Process{Args: args, Dir: h.Dir, Stdout: h.Stdout, Stderr: h.Stderr, Sandbox: p.Sandbox, group: p.group, environ: env,
		Env: func(name string) string { return env[name] }, Stdin: bytes.NewReader(nil)}
	if f, ok := h.Stdin.(*os.File); ok && f != nil {
		child.Stdin = &stdin{r: f}
	}
	if status := child.exec(ctx); status != 0 {
		return interp.ExitStatus(status)
	}
	return nil
}

// exported returns the environment as NAME=VALUE, sorted.
func (p *Process) exported() []string {
	list := make([]string, 0, len(p.environ))
	for _, name := range slices.Sorted(maps.Keys(p.environ)) {
		list = append(list, name+"="+p.environ[name])
	}
	return list
}

// open opens a file for the process.
func (p *Process) open(name string, flag int, perm fs.FileMode) (*file, error) {
	return p.disk().open(absolute(p.Dir, name), flag, perm)
}
