package sandboxtest

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

var execChecks = []check{
	{"exit status", func(t *testing.T, s *suite) {
		b := s.box(t)
		for script, want := range map[string]int{"exit 0": 0, "true": 0, "exit 1": 1, "exit 3": 3, "exit 127": 127, "exit 200": 200, "exit 255": 255} {
			got := b.sh(script)
			if got.Exit != want || got.Signal != 0 || got.Limit != sandbox.LimitNone || got.Stopped || got.SandboxDied {
				t.Errorf("%q: %+v, want exit status %d and nothing else", script, got.Result, want)
			}
		}
	}},
	{"exit status of an argument vector", func(t *testing.T, s *suite) {
		b := s.box(t)
		for name, want := range map[string]int{"true": 0, "false": 1} {
			if got := b.exec(sandbox.Command{Argv: []string{name}}); got.Exit != want || got.Signal != 0 {
				t.Errorf("%s: %+v, want exit status %d", name, got.Result, want)
			}
		}
	}},
	{"death by a signal is 128 and the signal", func(t *testing.T, s *suite) {
		b := s.box(t)
		for name, n := range map[string]int{"KILL": 9, "TERM": 15, "SEGV": 11, "ABRT": 6, "HUP": 1, "INT": 2, "QUIT": 3} {
			for _, cmd := range []sandbox.Command{
				{Argv: []string{"sh"}, Script: []byte("kill -" + name + " $$; sleep 100")},
				{Argv: []string{"sh", "-c", "kill -" + name + " $$; sleep 100"}},
			} {
				got := b.exec(cmd)
				if got.Exit != 128+n || got.Signal != n || got.Limit != sandbox.LimitNone {
					t.Errorf("%q: %+v, want exit status %d by signal %d", brief(cmd), got.Result, 128+n, n)
				}
			}
		}
	}},
	{"status 128 and more without a signal", func(t *testing.T, s *suite) {
		if got := s.box(t).sh("exit 137"); got.Exit != 137 || got.Signal != 0 {
			t.Errorf("exit 137: %+v, want no signal", got.Result)
		}
	}},
	{"program not found is 127", func(t *testing.T, s *suite) {
		b := s.box(t)
		for _, name := range []string{"no-such-program", "./no-such-program", "/no/such/program", strings.Repeat("x", 300)} {
			wantRefused(t, b, name, 127)
		}
	}},
	{"not executable is 126", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok("mkdir dir; echo echo hi > plain; chmod 644 plain")
		for _, name := range []string{"./plain", "./dir"} {
			wantRefused(t, b, name, 126)
		}
	}},
	{"PATH of the command finds its program", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok("mkdir -p a b; for d in a b; do printf '#!/bin/sh\\necho '$d'\\n' > $d/tool; done; chmod 644 a/tool; chmod 755 b/tool")
		path := b.ok(`printf %s "$PATH"`)
		ws := b.workspace()
		cmd := sandbox.Command{Argv: []string{"tool"}, Env: map[string]string{"PATH": ws + "/none:" + ws + "/a:" + ws + "/b:" + path}}
		if got := b.succeed(cmd); got != "b\n" {
			t.Errorf("tool is that of directory %q, want b, the first that is executable", got)
		}
	}},
	{"duration is measured", func(t *testing.T, s *suite) {
		if got := s.box(t).sh("sleep 0.2"); got.Duration < 200*time.Millisecond || got.Duration > hang {
			t.Errorf("duration of sleep 0.2 is %v", got.Duration)
		}
	}},
	{"a failure leaves the sandbox usable", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.sh("exit 9")
		b.exec(sandbox.Command{Argv: []string{"no-such-program"}})
		b.sh("kill -9 $$")
		b.usable()
	}},
	{"signals to the first process", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.wantOwnProcesses()
		got := b.sh("for s in TERM QUIT ABRT HUP INT USR1 SEGV KILL; do kill -$s 1 || true; done; sleep 0.2; echo alive")
		if !got.SandboxDied {
			if got.stdout != "alive\n" {
				t.Errorf("%+v, stdout %q: neither SandboxDied nor untouched", got.Result, got.stdout)
			}
			got = b.sh("echo usable") // a first process may take its time to heed a signal
		}
		if got.SandboxDied {
			_, err := b.Exec(b.ctx, sandbox.Command{Argv: []string{"true"}}, nil, nil)
			wantKind(t, "exec in a sandbox that died", err, sandbox.KindLost)
		} else if got.stdout != "usable\n" {
			t.Errorf("%+v, stdout %q, want usable", got.Result, got.stdout)
		}
	}},
}

// wantRefused checks that a program cannot be started, and that stderr says so.
func wantRefused(t *testing.T, b *box, name string, status int) {
	t.Helper()
	got := b.exec(sandbox.Command{Argv: []string{name}})
	if got.Exit != status || got.Signal != 0 || strings.TrimSpace(got.stderr) == "" {
		t.Errorf("%s: %+v, stderr %q, want status %d with a line on stderr", tail(name), got.Result, got.stderr, status)
	}
}

// wantOwnProcesses stops the check where its signals would reach processes of the host.
func (b *box) wantOwnProcesses() {
	b.t.Helper()
	host, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		b.t.Fatal(err)
	}
	if b.ok("readlink /proc/self/ns/pid || echo none") == host+"\n" {
		b.t.Fatal("the sandbox shares the host's PID namespace: its signals reach the host")
	}
}
