package sandboxtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// family is a script that starts descendants of every kind, each of which adds to a file of its own, prints "ready"
// once all run, and goes on for good. They hold its stdout.
const family = `
beat='while :; do echo x >> beat.$1; sleep 0.05; done'
sh -c "$beat" sh child &
(sh -c "$beat" sh orphan &)
setsid sh -c "$beat" sh session &
(setsid sh -c "$beat" sh session-orphan &)
sh -c "trap '' TERM INT HUP; $beat" sh stubborn &
(setsid sh -c "sh -c '(trap \"\" TERM; $beat) &' sh stubborn-session-orphan" &)
for kind in $KINDS; do while [ ! -s beat.$kind ]; do sleep 0.02; done; done
echo ready
`

const kinds = "child orphan session session-orphan stubborn stubborn-session-orphan"

// familyCommand runs the family, then the script.
func familyCommand(script string) sandbox.Command {
	return sandbox.Command{Argv: []string{"sh"}, Script: []byte(family + script), Env: map[string]string{"KINDS": kinds}}
}

// wantNoneAlive checks that no descendant runs any more.
func (b *box) wantNoneAlive() {
	b.t.Helper()
	got := b.ok("for f in beat.*; do wc -c < $f; done; echo; sleep 0.5; for f in beat.*; do wc -c < $f; done")
	before, after, _ := strings.Cut(strings.TrimSpace(got), "\n\n")
	if before != after {
		b.t.Errorf("descendants still run: their files grew from %q to %q bytes (in the order child orphan session session-orphan stubborn stubborn-session-orphan)",
			strings.Fields(before), strings.Fields(after))
	}
}

var killChecks = []check{
	{"timeout ends the command", func(t *testing.T, s *suite) {
		b := s.box(t)
		start := time.Now()
		got := b.exec(sandbox.Command{Argv: []string{"sleep", "1000"}, Timeout: 300 * time.Millisecond})
		if took := time.Since(start); got.Limit != sandbox.LimitTimeout || got.Exit == 0 || got.Stopped || took < 300*time.Millisecond {
			t.Errorf("%+v after %v, want the limit %q", got.Result, took, sandbox.LimitTimeout)
		}
		b.usable()
	}},
	{"timeout that is not reached", func(t *testing.T, s *suite) {
		got := s.box(t).exec(sandbox.Command{Argv: []string{"sh", "-c", "exit 5"}, Timeout: hang})
		if got.Limit != sandbox.LimitNone || got.Exit != 5 {
			t.Errorf("%+v, want exit status 5 and no limit", got.Result)
		}
	}},
	{"output before a timeout is kept", func(t *testing.T, s *suite) {
		got := s.box(t).exec(sandbox.Command{Argv: []string{"sh", "-c", "echo out; echo err >&2; sleep 1000"}, Timeout: time.Second})
		if got.stdout != "out\n" || got.stderr != "err\n" || got.Limit != sandbox.LimitTimeout {
			t.Errorf("%+v, stdout %q, stderr %q", got.Result, got.stdout, got.stderr)
		}
	}},
	{"timeout kills every descendant", func(t *testing.T, s *suite) {
		for timeout := 2 * time.Second; ; timeout *= 3 { // the first may be too short for a busy machine to start them
			b := s.box(t)
			cmd := familyCommand("sleep 1000")
			cmd.Timeout = timeout
			got := b.exec(cmd)
			if got.stdout != "ready\n" && timeout < hang/6 {
				continue
			}
			if got.stdout != "ready\n" || got.Limit != sandbox.LimitTimeout {
				t.Fatalf("%+v, stdout %q, stderr %q", got.Result, got.stdout, got.stderr)
			}
			b.wantNoneAlive()
			return
		}
	}},
	{"timeout of a command that ignores TERM", func(t *testing.T, s *suite) {
		got := s.box(t).exec(sandbox.Command{Argv: []string{"sh", "-c", "trap '' TERM INT HUP; while :; do sleep 0.1; done"}, Timeout: 500 * time.Millisecond})
		if got.Limit != sandbox.LimitTimeout {
			t.Errorf("%+v, want the limit %q", got.Result, sandbox.LimitTimeout)
		}
	}},
	{"timeout of a busy loop", func(t *testing.T, s *suite) {
		got := s.box(t).exec(sandbox.Command{Argv: []string{"sh", "-c", "while :; do :; done"}, Timeout: 500 * time.Millisecond})
		if got.Limit != sandbox.LimitTimeout {
			t.Errorf("%+v, want the limit %q", got.Result, sandbox.LimitTimeout)
		}
	}},
	{"timeout leaves other commands alone", func(t *testing.T, s *suite) {
		b := s.box(t)
		other := b.start(b.ctx, sandbox.Command{Argv: []string{"sh", "-c", "echo up; while [ ! -e go ]; do sleep 0.02; done; exit 6"}})
		other.await("up")
		daemon := "(while [ ! -e go ]; do sleep 0.02; done; echo done > daemon) & echo $!"
		b.ok(daemon)
		b.exec(sandbox.Command{Argv: []string{"sleep", "1000"}, Timeout: 200 * time.Millisecond})
		b.ok(": > go")
		if res, err := other.wait(); err != nil || res.Exit != 6 || res.Limit != sandbox.LimitNone {
			t.Errorf("the command beside it: %+v, %v", res, err)
		}
		b.ok("while [ ! -s daemon ]; do sleep 0.02; done")
	}},
	{"output at its limit passes", func(t *testing.T, s *suite) {
		b := s.box(t)
		for script, limit := range map[string]int64{"yes | head -c 100000": 100_000, "printf 12345": 5, "yes | head -c 100000; yes | head -c 100000 >&2": 100_000} {
			got := b.exec(sandbox.Command{Argv: []string{"sh", "-c", script}, OutputLimit: limit})
			if got.Limit != sandbox.LimitNone || got.Exit != 0 || int64(len(got.stdout)) != limit {
				t.Errorf("%q with limit %d: %+v, %d bytes", script, limit, got.Result, len(got.stdout))
			}
		}
	}},
	{"output beyond its limit", func(t *testing.T, s *suite) {
		b := s.box(t)
		for _, limit := range []int64{1, 1000, 1_000_000} {
			got := b.exec(sandbox.Command{Argv: []string{"sh", "-c", "yes; exit 0"}, OutputLimit: limit})
			want := strings.Repeat("y\n", int(limit/2)+1)[:limit]
			if got.Limit != sandbox.LimitOutput || got.stdout != want || got.Exit == 0 {
				t.Errorf("limit %d: %+v, %d bytes of stdout", limit, got.Result, len(got.stdout))
			}
			got = b.exec(sandbox.Command{Argv: []string{"sh", "-c", "echo fine; yes >&2"}, OutputLimit: max(limit, 5)})
			if got.Limit != sandbox.LimitOutput || int64(len(got.stderr)) != max(limit, 5) || got.stdout != "fine\n" {
				t.Errorf("limit %d: %+v, %d bytes of stderr, stdout %q", limit, got.Result, len(got.stderr), got.stdout)
			}
		}
		b.usable()
	}},
	{"output beyond its limit by one, at the very end", func(t *testing.T, s *suite) {
		got := s.box(t).exec(sandbox.Command{Argv: []string{"printf", "123456"}, OutputLimit: 5})
		if got.Limit != sandbox.LimitOutput || got.stdout != "12345" {
			t.Errorf("%+v, stdout %q, want the limit %q and five bytes", got.Result, got.stdout, sandbox.LimitOutput)
		}
	}},
	{"output limit kills every descendant", func(t *testing.T, s *suite) {
		b := s.box(t)
		cmd := familyCommand("yes")
		cmd.OutputLimit = 100_000
		if got := b.exec(cmd); got.Limit != sandbox.LimitOutput || !strings.HasPrefix(got.stdout, "ready\n") || len(got.stdout) != 100_000 {
			t.Fatalf("%+v, %d bytes of stdout, stderr %q", got.Result, len(got.stdout), tail(got.stderr))
		}
		b.wantNoneAlive()
	}},
	{"cancel kills every descendant", func(t *testing.T, s *suite) {
		b, why := s.box(t), errors.New("not wanted any more")
		ctx, cancel := context.WithCancelCause(b.ctx)
		defer cancel(nil)
		run := b.start(ctx, familyCommand("sleep 1000"))
		run.await("ready")
		cancel(why)
		if _, err := run.wait(); !errors.Is(err, why) {
			t.Errorf("error %v, want the cause of the context", err)
		}
		b.wantNoneAlive()
	}},
}

var stopChecks = []check{
	{"stop is TERM", func(t *testing.T, s *suite) {
		b, stop := s.box(t), make(chan struct{})
		run := b.start(b.ctx, sandbox.Command{Argv: []string{"sh", "-c", "echo up; exec sleep 1000"}, Stop: stop, Grace: hang})
		run.await("up")
		close(stop)
		if res, err := run.wait(); err != nil || !res.Stopped || res.Signal != 15 || res.Exit != 143 || res.Limit != sandbox.LimitNone {
			t.Errorf("%+v, %v, want stopped by signal 15", res, err)
		}
		b.usable()
	}},
	{"stop lets the command end in its own way", func(t *testing.T, s *suite) {
		b, stop := s.box(t), make(chan struct{})
		run := b.start(b.ctx, sandbox.Command{Argv: []string{"sh", "-c", "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.1; done"}, Stop: stop, Grace: hang})
		run.await("up")
		close(stop)
		if res, err := run.wait(); err != nil || !res.Stopped || res.Exit != 7 || res.Signal != 0 || run.out.String() != "up\nbye\n" {
			t.Errorf("%+v, %v, stdout %q, want exit status 7 after bye", res, err, run.out)
		}
	}},
	{"stop is KILL after the grace", func(t *testing.T, s *suite) {
		b, stop := s.box(t), make(chan struct{})
		run := b.start(b.ctx, sandbox.Command{Argv: []string{"sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"}, Stop: stop, Grace: 300 * time.Millisecond})
		run.await("up")
		close(stop)
		if res, err := run.wait(); err != nil || !res.Stopped || res.Signal != 9 || res.Exit != 137 {
			t.Errorf("%+v, %v, want stopped by signal 9", res, err)
		}
		b.usable()
	}},
	{"stop ends every descendant", func(t *testing.T, s *suite) {
		b, stop := s.box(t), make(chan struct{})
		cmd := familyCommand("sleep 1000")
		cmd.Stop, cmd.Grace = stop, 500*time.Millisecond
		run := b.start(b.ctx, cmd)
		run.await("ready")
		close(stop)
		if res, err := run.wait(); err != nil || !res.Stopped {
			t.Errorf("%+v, %v, want stopped", res, err)
		}
		time.Sleep(2 * cmd.Grace) // what ignores TERM may have been left its grace though the main process is gone
		b.wantNoneAlive()
	}},
	{"stop of what has ended says nothing", func(t *testing.T, s *suite) {
		b, stop := s.box(t), make(chan struct{})
		got := b.exec(sandbox.Command{Argv: []string{"sh", "-c", "exit 4"}, Stop: stop, Grace: time.Second})
		close(stop)
		if got.Stopped || got.Exit != 4 {
			t.Errorf("%+v, want exit status 4, not stopped", got.Result)
		}
		b.usable()
	}},
	{"stop before the start", func(t *testing.T, s *suite) {
		b, stop := s.box(t), make(chan struct{})
		close(stop)
		got := b.exec(sandbox.Command{Argv: []string{"sleep", "1000"}, Stop: stop, Grace: time.Second})
		if !got.Stopped || got.Exit == 0 {
			t.Errorf("%+v, want stopped", got.Result)
		}
	}},
	{"a stop while the command starts is not lost", func(t *testing.T, s *suite) {
		b := s.box(t)
		for i := range 20 {
			stop := make(chan struct{})
			time.AfterFunc(time.Duration(i)*300*time.Microsecond, func() { close(stop) })
			got := b.exec(sandbox.Command{Argv: []string{"sleep", "1000"}, Stop: stop, Grace: hang})
			if !got.Stopped || got.Exit != 143 {
				t.Fatalf("%+v, want stopped by TERM", got.Result)
			}
		}
	}},
	{"stop leaves other commands alone", func(t *testing.T, s *suite) {
		b, stop := s.box(t), make(chan struct{})
		other := b.start(b.ctx, sandbox.Command{Argv: []string{"sh", "-c", "echo up; while [ ! -e go ]; do sleep 0.02; done; exit 6"}})
		other.await("up")
		run := b.start(b.ctx, sandbox.Command{Argv: []string{"sh", "-c", "echo up; sleep 1000"}, Stop: stop, Grace: 300 * time.Millisecond})
		run.await("up")
		close(stop)
		if _, err := run.wait(); err != nil {
			t.Error(err)
		}
		b.ok(": > go")
		if res, err := other.wait(); err != nil || res.Exit != 6 || res.Stopped {
			t.Errorf("the command beside it: %+v, %v", res, err)
		}
	}},
}

var processChecks = []check{
	{"what is left running does not hold Exec up", func(t *testing.T, s *suite) {
		b := s.box(t)
		if got := b.ok("sleep 1000 & (setsid sleep 1000 &); echo main ended"); got != "main ended\n" {
			t.Errorf("printed %q", got)
		}
	}},
	{"output of the main process is complete though others hold the pipe", func(t *testing.T, s *suite) {
		b := s.box(t)
		for range 5 {
			if got := b.ok("sleep 1000 & yes | head -c 300000"); len(got) != 300_000 {
				t.Errorf("%d bytes of 300000 arrived", len(got))
			}
		}
	}},
	{"a daemon is there in the next command", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok(`(setsid sh -c 'while [ ! -e quit ]; do echo x >> beat; sleep 0.02; done; echo bye > last' > /dev/null 2>&1 < /dev/null &)`)
		b.ok(`while [ ! -s beat ]; do sleep 0.02; done; n=$(wc -c < beat); while [ "$(wc -c < beat)" -le "$n" ]; do sleep 0.02; done`)
		b.ok(": > quit; while [ ! -s last ]; do sleep 0.02; done")
	}},
	{"a daemon without redirection survives as well", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok("(while [ ! -e quit ]; do sleep 0.02; done; echo bye > last) & echo started")
		b.ok(": > quit; while [ ! -s last ]; do sleep 0.02; done")
	}},
	{"zombies and orphans are no trouble", func(t *testing.T, s *suite) {
		b := s.box(t)
		for i := range 5 {
			b.ok("for i in 1 2 3 4 5 6 7 8 9 10; do (true &); (sleep 0.01 &); done")
			if got := b.sh(fmt.Sprintf("(sleep 0.01 &); exit %d", i)); got.Exit != i {
				t.Errorf("%+v, want exit status %d", got.Result, i)
			}
		}
	}},
}
