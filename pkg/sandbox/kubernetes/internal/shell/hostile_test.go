package shell_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

// mine is how the files of the command that runs it begin.
const mine = `d=$(ls -t /tmp/.sbxrun/x/*.main | head -1); d=${d%.main}; `

// What runs in a sandbox can spoil its own result, and neither hold Exec up nor get more out than its limits.
func TestHostile(t *testing.T) {
	t.Parallel()
	forever := "while :; do sleep 0.1; done"
	for name, c := range map[string]struct {
		script string
		check  func(sandbox.Result) bool
	}{
		"supervisor killed":    {`kill -9 $(cut -d" " -f1 $d); ` + forever, func(r sandbox.Result) bool { return r.Signal == 9 }},
		"no record":            {`ln -sf /dev/null $d.rc; kill -9 $(cut -d" " -f1 $d); ` + forever, func(r sandbox.Result) bool { return r.Signal == 9 && r.Limit == "" }},
		"everything killed":    {"kill -9 -1; " + forever, func(r sandbox.Result) bool { return r.Signal == 9 }},
		"files removed":        {`rm -f $d $d.*; ` + forever, func(r sandbox.Result) bool { return r.Exit != 0 }},
		"state folder removed": {`rm -rf /tmp/.sbxrun; ` + forever, func(r sandbox.Result) bool { return r.Exit != 0 }},
		"end forged":           {`echo "0 0 - 99999999999 0 - - ." > $d.end; ` + forever, func(r sandbox.Result) bool { return r.Duration < time.Minute }},
		"end nonsense":         {`head -c 1000000 /dev/zero | tr '\0' x > $d.end; ` + forever, func(r sandbox.Result) bool { return r.Exit == 137 }},
		"end many lines":       {`yes "sbx1 9 9 end 0 0 - 0 0 - - ." | head -c 100000 > $d.end; ` + forever, func(r sandbox.Result) bool { return r.Exit == 137 }},
		"output endless":       {`rm $d.1; ln -s /dev/zero $d.1; ` + forever, func(r sandbox.Result) bool { return r.Exit != 0 }},
		"output a folder":      {`rm $d.1; mkdir $d.1; exit 3`, func(r sandbox.Result) bool { return r.Exit == 3 }},
		"output cut":           {`echo something; sleep 0.5; : > $d.1; exit 3`, func(r sandbox.Result) bool { return r.Exit == 3 }},
		"watchdog killed":      {`p=$(cut -d" " -f1 $d); for f in /proc/[0-9]*; do set -- $(cat $f/stat 2>/dev/null); [ "$4" = $p ] && [ $1 != $$ ] && kill -9 $1; done; ` + forever, func(r sandbox.Result) bool { return r.Exit != 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := shell.New(shell.Options{ID: "hostile", Transport: newPod(t, shells[0])})
			var out bytes.Buffer
			res, err := s.Exec(t.Context(), sandbox.Command{
				Argv: []string{"sh"}, Script: []byte(mine + c.script), Timeout: 4 * time.Second, OutputLimit: 1 << 20,
			}, &out, nil)
			if err != nil || !c.check(res) || out.Len() > 1<<20 {
				t.Errorf("%+v, %v, %d bytes", res, err, out.Len())
			}
			var again bytes.Buffer
			res, err = s.Exec(t.Context(), sandbox.Command{Argv: []string{"echo", "usable"}}, &again, nil)
			if err != nil || res.Exit != 0 || again.String() != "usable\n" {
				t.Errorf("afterwards: %+v, %v, %q", res, err, again.String())
			}
		})
	}
}

// What holds its supervisor up, or answers in its place that it still runs, gains no time once it is killed, though it has no
// time limit.
func TestNothingOutlastsKill(t *testing.T) {
	t.Parallel()
	running := func(string) string { return "run\n1 0\nYWJj\n.\n" }
	for name, c := range map[string]struct {
		cmd    sandbox.Command
		answer func(script string) string // nil: the pod's
		want   sandbox.Result
	}{
		"supervisor stopped": {sandbox.Command{
			Argv: []string{"sh", "-c", mine + "kill -STOP $(cut -d' ' -f1 $d); echo held; sleep 1000"}, Grace: time.Second,
		}, nil, sandbox.Result{Exit: 137, Signal: 9, Stopped: true}},
		"runs for ever":   {sandbox.Command{Argv: []string{"x"}, Grace: time.Second}, running, sandbox.Result{Exit: 137, Signal: 9, Stopped: true}},
		"writes for ever": {sandbox.Command{Argv: []string{"x"}, OutputLimit: 1}, running, sandbox.Result{Exit: 137, Signal: 9, Limit: sandbox.LimitOutput}},
		"says for ever that there is more": {sandbox.Command{Argv: []string{"x"}}, func(string) string {
			return "end 0 0 - 1 0 - - .\n1 0\n" + base64.StdEncoding.EncodeToString(make([]byte, 2<<20)) + "\n.\n"
		}, sandbox.Result{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var transport shell.Transport = lying(c.answer)
			if c.answer == nil {
				transport = newPod(t, shells[0])
			}
			s := shell.New(shell.Options{ID: "held", Transport: transport})
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			var once sync.Once
			stop := make(chan struct{})
			if c.want.Stopped {
				c.cmd.Stop = stop
			}
			out := &watching{seen: func() { once.Do(func() { close(stop) }) }}
			res, err := s.Exec(ctx, c.cmd, out, io.Discard)
			res.Duration = 0
			if err != nil || res != c.want {
				t.Errorf("%+v, %v, want %+v", res, err, c.want)
			}
		})
	}
}

// lying answers what code in the sandbox made of it: the state, and what comes behind it. It gets the script.
type lying func(script string) string

func (l lying) Run(_ context.Context, argv []string) (shell.Reply, error) {
	return shell.Reply{Stdout: []byte("sbx1 " + argv[4] + " 0 " + l(argv[2]))}, nil
}

func (lying) Upload(context.Context, string, []byte) (string, error) { return "/x", nil }

// What the code under test takes from its sandbox is not what the image lacks, or the cluster: errors of those count for nobody.
func TestSpoilt(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"base64", "sh", "tar", "find"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, shells[0])
			setup := "mkdir /app/own && cd /app/own && for p in sh base64 cat dd env grep mkdir mkfifo mv sleep wc rm tar find stat chmod; do ln -s $(command -v $p) $p; done"
			if reply, err := p.Run(t.Context(), []string{"sh", "-c", setup}); err != nil || reply.Exit != 0 {
				t.Fatal(reply, err)
			}
			own := func(argv []string) []string { return slices.Concat([]string{"env", "PATH=/app/own"}, argv) }
			s := shell.New(shell.Options{ID: "spoilt", Transport: rewriting{p, own}})
			s.Hurry(shell.MaxRun, 5*time.Second)
			res, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"rm", "/app/own/" + program}}, nil, nil)
			if err != nil || res.Exit != 0 && !res.SandboxDied {
				t.Fatalf("%+v, %v", res, err)
			}
			if program == "tar" {
				err := sandbox.Put(t.Context(), sender{s}, sandbox.File{Name: "f", Mode: 0o644}, strings.NewReader(""))
				if sandbox.KindOf(err) != sandbox.KindInvalid {
					t.Errorf("send: %v, want one of kind invalid", err)
				}
				return
			}
			if _, err := s.Receive(t.Context(), []string{"*"}); sandbox.KindOf(err) != sandbox.KindInvalid {
				t.Errorf("receive: %v, want one of kind invalid", err)
			}
			if program == "find" {
				return
			}
			res, err = s.Exec(t.Context(), sandbox.Command{Argv: []string{"/bin/true"}}, nil, nil)
			if err != nil || !res.SandboxDied || res.Exit != 137 {
				t.Errorf("exec: %+v, %v, want a sandbox that died", res, err)
			}
		})
	}
	t.Run("nonsense for ever", func(t *testing.T) {
		t.Parallel()
		var started atomic.Bool
		s := shell.New(shell.Options{ID: "spoilt", Transport: lying(func(string) string {
			if started.CompareAndSwap(false, true) {
				return "end 0 0 - 1 0 - - .\nlacks\n.\n"
			}
			return ""
		})})
		s.Hurry(shell.MaxRun, 5*time.Second)
		if err := run(t, s, sandbox.Command{Argv: []string{"true"}}); err != nil {
			t.Fatal(err)
		}
		res, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"true"}}, nil, nil)
		if err != nil || !res.SandboxDied {
			t.Errorf("%+v, %v, want a sandbox that died", res, err)
		}
	})
}

// Words of the sandbox's in an error are few and command no terminal.
func TestWordsInErrors(t *testing.T) {
	evil := "\x1b[2J\x9b\r\u202e" + strings.Repeat("x", 900)
	for name, answer := range map[string]string{"fail": "fail " + evil, "need": "need " + evil, "end": "end fail " + evil} {
		s := shell.New(shell.Options{ID: "words", Transport: lying(func(string) string { return answer + "\n.\n" })})
		_, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"true"}}, nil, nil)
		wantPlain(t, name, err)
		wantPlain(t, name+", reset", s.Reset(t.Context()))
	}
	s := shell.New(shell.Options{ID: "words", Transport: newPod(t, shells[0])})
	name := strings.Repeat("\x1b[2J/", 100)
	dump(t, s, "mkdir -p "+name+"f")
	wantPlain(t, "send", sandbox.Put(t.Context(), sender{s}, sandbox.File{Name: name + "f", Mode: 0o644}, strings.NewReader("")))
}

func wantPlain(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || len(err.Error()) > 600 || strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%s: %q", what, err)
	}
}

// A flood between two looks is cut in the sandbox: the file never has much more than the limit.
func TestFloodIsBounded(t *testing.T) {
	inShells(t, func(t *testing.T, sh string) {
		pod := newPod(t, sh)
		s := shell.New(shell.Options{ID: "flood", Transport: pod})
		const limit = 100_000
		res, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"sh", "-c", "yes >&2 & yes"}, OutputLimit: limit}, nil, nil)
		if err != nil || res.Limit != sandbox.LimitOutput {
			t.Fatalf("%+v, %v", res, err)
		}
		out := dump(t, s, "wc -c /tmp/.sbxrun/x/*.1 /tmp/.sbxrun/x/*.2 | sort -n | tail -2 | head -1")
		var n int
		if _, err := fmt.Sscan(out, &n); err != nil || n <= limit/2 || n > limit+1024 {
			t.Errorf("the larger file has %q bytes, want about %d: %v", strings.TrimSpace(out), limit, err)
		}
	})
}

// dump returns the stdout of a script.
func dump(t *testing.T, s *shell.Shell, script string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if res, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"sh", "-c", script}}, &out, &errs); err != nil || res.Exit != 0 {
		t.Fatalf("%q: %+v, %v, %s", script, res, err, errs.String())
	}
	return out.String()
}

// TestSignals has the signals that the conformance suite's check has, but for QUIT, which bash and busybox ignore: the
// program here is not their sh.
func TestSignals(t *testing.T) {
	inShells(t, func(t *testing.T, sh string) {
		s := shell.New(shell.Options{ID: "signals", Transport: newPod(t, sh)})
		for n, name := range map[int]string{1: "HUP", 2: "INT", 3: "QUIT", 6: "ABRT", 9: "KILL", 11: "SEGV", 13: "PIPE", 14: "ALRM", 15: "TERM", 10: "USR1", 24: "XCPU"} {
			cmd := sandbox.Command{Argv: []string{"/usr/bin/python3", "-c", fmt.Sprintf("import os, signal, time; signal.signal(%d, signal.SIG_DFL) if %d != 9 else 0; os.kill(os.getpid(), %d); time.sleep(100)", n, n, n)}}
			if n == 2 || n == 3 { // as it was inherited
				cmd.Argv[2] = fmt.Sprintf("import os, signal, time; assert signal.getsignal(%d) != signal.SIG_IGN; signal.signal(%d, signal.SIG_DFL); os.kill(os.getpid(), %d); time.sleep(100)", n, n, n)
			}
			res, err := s.Exec(t.Context(), cmd, nil, os.Stderr)
			if err != nil || res.Exit != 128+n || res.Signal != n {
				t.Errorf("%s: %+v, %v", name, res, err)
			}
		}
		for _, status := range []int{128, 129, 131, 134, 137, 139, 255} {
			res, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"sh", "-c", fmt.Sprint("exit ", status)}}, nil, nil)
			if err != nil || res.Exit != status || res.Signal != 0 {
				t.Errorf("exit %d: %+v, %v", status, res, err)
			}
		}
	})
}

// A shell has a signal before the command that it waits for ends of it, or else it may leave without its trap, as with -e. The
// numbers of processes have as many digits as it takes for names of the one to come before those of the other.
func TestTrapBeforeItsCommand(t *testing.T) {
	inShells(t, func(t *testing.T, sh string) {
		s := shell.New(shell.Options{ID: "trap", Transport: newPod(t, sh)})
		const script = `trap 'echo saved; exit 7' TERM
echo "$$"
until p=$(sh -c 'echo "$$"') && [ "$p" -ge 100 ] && [ "$p" -lt 195 ]; do :; done
sh -c 'echo "$$ up"; exec sleep 1000'`
		stop := make(chan struct{})
		out := &until{text: "up\n", reached: func() { close(stop) }}
		res, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"sh", "-e", "-c", script}, Stop: stop, Grace: time.Minute}, out, os.Stderr)
		if err != nil || res.Exit != 7 || !strings.HasSuffix(out.String(), "saved\n") {
			t.Errorf("%+v, %v: %q", res, err, out)
		}
	})
}

// until is output that tells when it has a text.
type until struct {
	strings.Builder
	text    string
	reached func()
}

func (u *until) Write(p []byte) (int, error) {
	before := strings.Contains(u.String(), u.text)
	n, err := u.Builder.Write(p)
	if !before && strings.Contains(u.String(), u.text) {
		u.reached()
	}
	return n, err
}
