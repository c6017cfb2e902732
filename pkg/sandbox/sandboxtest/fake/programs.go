package fake

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"strconv"
	"strings"
	"time"
)

// shells are the names that run a script.
var shells = map[string]Program{"sh": sh, "bash": sh, "dash": sh, "ash": sh, "ksh": sh}

// instant are programs that end at once, whatever they are given.
var instant = map[string]Program{
	"true":  func(context.Context, *Process) int { return 0 },
	"false": func(context.Context, *Process) int { return 1 },
	"echo": func(_ context.Context, p *Process) int {
		if _, err := fmt.Fprintln(p.Stdout, strings.Join(p.Args[1:], " ")); err != nil {
			return p.fail(err)
		}
		return 0
	},
}

// programs are the commands of every sandbox. It is filled in init's place by a function, because some of them run others.
func programs() map[string]Program {
	all := map[string]Program{
		"cat": cat, "head": head, "wc": wc, "tr": tr, "seq": seq, "yes": yes, "sleep": sleep, "sha256sum": sha256sum,
		"mkdir": mkdir, "rm": rm, "ls": ls, "stat": stat, "chmod": chmod, "ln": ln, "mkfifo": mkfifo, "touch": touch, "cp": cp, "mv": mv,
		"readlink": readlink, "env": env, "setsid": run, "nohup": run, "which": which, "kill": kill, "pwd": pwd,
	}
	for _, name := range []string{"[", "printf", "test"} {
		all[name] = builtin
	}
	for _, more := range []map[string]Program{shells, instant} {
		maps.Copy(all, more)
	}
	return all
}

// program returns the Program that a file of /bin stands for.
func (p *Provider) program(name string) Program { return p.programs[name] }

func (p *Provider) eachProgram(f func(name string)) {
	for name := range p.programs {
		f(name)
	}
}

// fail writes err to stderr as coreutils do and returns the status 1.
func (p *Process) fail(err error) int {
	fmt.Fprintf(p.Stderr, "%s: %v\n", p.Args[0], err)
	return 1
}

// options takes the leading options off the arguments: single letters; those in valued take a value. A number (-5) is the value of n.
func (p *Process) options(valued string) (opts map[byte]string, args []string) {
	opts, args = map[byte]string{}, p.Args[1:]
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		word := args[0][1:]
		args = args[1:]
		if word == "-" {
			break
		}
		if _, err := strconv.Atoi(word); err == nil {
			opts['n'] = word
			continue
		}
		for word != "" {
			c := word[0]
			word = word[1:]
			opts[c] = ""
			if strings.IndexByte(valued, c) >= 0 {
				if word == "" && len(args) > 0 {
					word, args = args[0], args[1:]
				}
				opts[c], word = word, ""
			}
		}
	}
	return opts, args
}

// each calls f with every file of names that can be opened, stdin where there are none or for "-".
func (p *Process) each(names []string, f func(name string, r io.Reader) error) int {
	status := 0
	if len(names) == 0 {
		names = []string{"-"}
	}
	for _, name := range names {
		var err error
		if name == "-" {
			err = f(name, p.Stdin)
		} else {
			var in *file
			if in, err = p.open(name, os.O_RDONLY, 0); err == nil {
				err = f(name, in)
			}
		}
		if err != nil {
			status = p.fail(err)
		}
	}
	return status
}

// size parses 12, 4k, 64M.
func size(s string) (int64, error) {
	unit := int64(1)
	for suffix, u := range map[string]int64{"k": 1 << 10, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			s, unit = rest, u
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n * unit, err
}

func sleep(ctx context.Context, p *Process) int {
	if len(p.Args) != 2 {
		return p.fail(fmt.Errorf("want one duration"))
	}
	s, err := strconv.ParseFloat(strings.TrimSuffix(p.Args[1], "s"), 64)
	if err != nil {
		return p.fail(err)
	}
	timer := time.NewTimer(time.Duration(s * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return 0
	case <-ctx.Done():
		return 143
	}
}

// run is setsid and nohup: there are no sessions that the program could leave.
func run(ctx context.Context, p *Process) int {
	_, p.Args = p.options("")
	return p.exec(ctx)
}

func env(ctx context.Context, p *Process) int {
	args := p.Args[1:]
	for len(args) > 0 && strings.Contains(args[0], "=") {
		name, value, _ := strings.Cut(args[0], "=")
		p.setenv(name, value)
		args = args[1:]
	}
	if len(args) > 0 {
		p.Args = args
		return p.exec(ctx)
	}
	for _, line := range p.exported() {
		p.Printf("%s\n", line)
	}
	return 0
}

func which(_ context.Context, p *Process) int {
	status := 0
	for _, name := range p.Args[1:] {
		at, _, err := p.find(name)
		if err != nil {
			status = 1
			continue
		}
		p.Printf("%s\n", at)
	}
	return status
}
