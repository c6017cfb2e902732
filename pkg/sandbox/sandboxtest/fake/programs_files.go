package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"syscall"
)

// files calls f with every name made absolute, and complains of each that fails.
func (p *Process) files(names []string, f func(abs string) error) int {
	status := 0
	for _, name := range names {
		if err := f(absolute(p.Dir, name)); err != nil {
			status = p.fail(fmt.Errorf("%s: %w", name, err))
		}
	}
	return status
}

func mkdir(_ context.Context, p *Process) int {
	opts, args := p.options("m")
	_, parents := opts['p']
	m, given := opts['m']
	mode, err := strconv.ParseUint(m, 8, 12)
	if given && err != nil {
		return p.fail(fmt.Errorf("mode %q is not known here", m))
	}
	return p.files(args, func(name string) error {
		if err := p.disk().mkdir(name, parents); err != nil || !given {
			return err
		}
		return p.disk().chmod(name, func(fs.FileMode) fs.FileMode { return fs.FileMode(mode) })
	})
}

// pwd knows -P; without it the shell's idea of the directory stands.
func pwd(_ context.Context, p *Process) int {
	if opts, _ := p.options(""); len(opts) == 0 {
		p.Printf("%s\n", p.Dir)
		return 0
	}
	return p.files([]string{p.Dir}, func(dir string) error {
		return p.disk().existing(dir, true, func(at place) error {
			p.Printf("%s\n", at.path)
			return nil
		})
	})
}

func rm(_ context.Context, p *Process) int {
	opts, args := p.options("")
	_, all := opts['r']
	_, force := opts['f']
	return p.files(args, func(name string) error {
		err := p.disk().remove(name, all)
		if force && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

func ls(_ context.Context, p *Process) int {
	opts, args := p.options("")
	_, hidden := opts['A']
	if _, ok := opts['a']; ok {
		hidden = true
	}
	if len(args) == 0 {
		args = []string{"."}
	}
	return p.files(args, func(name string) error {
		i, err := p.disk().stat(name, true)
		if err != nil {
			return err
		}
		if !i.IsDir() {
			p.Printf("%s\n", name)
			return nil
		}
		entries, err := p.disk().readDir(name)
		for _, e := range entries {
			if hidden || e.Name()[0] != '.' {
				p.Printf("%s\n", e.Name())
			}
		}
		return err
	})
}

// stat knows the format letters a (mode), s (size), h (hard links), F (not at all) and n (name): stat -c FORMAT FILE...
func stat(_ context.Context, p *Process) int {
	opts, args := p.options("c")
	return p.files(args, func(name string) error {
		i, err := p.disk().stat(name, false)
		if err != nil {
			return err
		}
		letters := map[byte]string{'a': strconv.FormatUint(uint64(i.mode.Perm()), 8), 's': strconv.FormatInt(i.size, 10),
			'h': strconv.Itoa(i.node.names), 'n': name, '%': "%"}
		var line []byte
		for f := opts['c']; f != ""; f = f[1:] {
			if f[0] == '%' && len(f) > 1 {
				f = f[1:]
				value, known := letters[f[0]]
				if !known {
					return fmt.Errorf("format %%%c is not known here", f[0])
				}
				line = append(line, value...)
				continue
			}
			line = append(line, f[0])
		}
		p.Printf("%s\n", line)
		return nil
	})
}

// chmod takes an octal mode, or +x, +w, -w, -x for all.
func chmod(_ context.Context, p *Process) int {
	args := p.Args[1:]
	if len(args) < 2 {
		return p.fail(errors.New("want a mode and files"))
	}
	bits := map[string]fs.FileMode{"+x": 0o111, "-x": 0o111, "+w": 0o200, "-w": 0o222, "a-w": 0o222, "u+x": 0o100, "u+w": 0o200}[args[0]]
	octal, err := strconv.ParseUint(args[0], 8, 12)
	if err != nil && bits == 0 {
		return p.fail(fmt.Errorf("mode %q is not known here", args[0]))
	}
	return p.files(args[1:], func(name string) error {
		return p.disk().chmod(name, func(old fs.FileMode) fs.FileMode {
			switch {
			case bits == 0:
				return fs.FileMode(octal)
			case args[0][len(args[0])-2] == '+':
				return old | bits
			}
			return old &^ bits
		})
	})
}

func ln(_ context.Context, p *Process) int {
	opts, args := p.options("")
	if len(args) != 2 {
		return p.fail(errors.New("want a target and a name"))
	}
	v, name := p.disk(), absolute(p.Dir, args[1])
	if _, force := opts['f']; force {
		if err := v.remove(name, false); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return p.fail(err)
		}
	}
	var err error
	if _, soft := opts['s']; soft {
		err = v.make(name, fs.ModeSymlink|0o777, args[0])
	} else {
		err = v.hardLink(absolute(p.Dir, args[0]), name)
	}
	if err != nil {
		return p.fail(fmt.Errorf("%s: %w", args[1], err))
	}
	return 0
}

func mkfifo(_ context.Context, p *Process) int {
	return p.files(p.Args[1:], func(name string) error { return p.disk().make(name, fs.ModeNamedPipe|0o644, "") })
}

func touch(_ context.Context, p *Process) int {
	return p.files(p.Args[1:], func(name string) error {
		_, err := p.disk().open(name, os.O_WRONLY|os.O_CREATE, 0o644)
		return err
	})
}

// into is the destination of cp and mv: a file, or its place in a directory.
func (p *Process) into(from, to string) string {
	to = absolute(p.Dir, to)
	if i, err := p.disk().stat(to, true); err == nil && i.IsDir() {
		return to + "/" + path.Base(from)
	}
	return to
}

// cp copies files, and no directories.
func cp(ctx context.Context, p *Process) int {
	_, args := p.options("")
	if len(args) < 2 {
		return p.fail(errors.New("want files and a destination"))
	}
	return p.each(args[:len(args)-1], func(name string, r io.Reader) error {
		i, err := p.disk().stat(absolute(p.Dir, name), true)
		if err != nil {
			return err
		}
		out, err := p.open(p.into(name, args[len(args)-1]), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, i.mode)
		if err != nil {
			return err
		}
		out.node.prog = i.node.prog
		_, err = io.Copy(out, live{ctx, r})
		return err
	})
}

func mv(_ context.Context, p *Process) int {
	_, args := p.options("")
	if len(args) < 2 {
		return p.fail(errors.New("want files and a destination"))
	}
	return p.files(args[:len(args)-1], func(name string) error {
		return p.disk().rename(name, p.into(name, args[len(args)-1]))
	})
}

func readlink(_ context.Context, p *Process) int {
	return p.files(p.Args[1:], func(name string) error {
		i, err := p.disk().stat(name, false)
		if err == nil && i.mode&fs.ModeSymlink == 0 {
			err = syscall.EINVAL
		}
		if err == nil {
			p.Printf("%s\n", i.node.link)
		}
		return err
	})
}

// kill is `kill [-SIGNAL] PID`. The interpreter's $$ is the process that the fake runs in, so that this PID stands for
// the command itself; no other can be named.
func kill(_ context.Context, p *Process) int {
	args, signal := p.Args[1:], syscall.SIGTERM
	if len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		n, err := strconv.Atoi(args[0][1:])
		if err != nil {
			n = slices.Index(signals, args[0][1:])
		}
		if n <= 0 {
			return p.fail(fmt.Errorf("unknown signal %s", args[0]))
		}
		signal, args = syscall.Signal(n), args[1:]
	}
	if len(args) != 1 || args[0] != strconv.Itoa(os.Getpid()) {
		return p.fail(fmt.Errorf("%q: no such process", args))
	}
	p.group.signal(int(signal))
	return 0
}

// signals are the names of kill, each at its number.
var signals = []string{"", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM"}
