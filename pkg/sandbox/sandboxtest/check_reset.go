package sandboxtest

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

const resetTheme = "reset"

// resets says whether the provider's sandboxes can be reset.
func (s *suite) resets(t *testing.T) bool {
	t.Helper()
	spec := s.cfg.Spec
	spec.Name, spec.Group = "check", "reset"
	b := acquire(t, s.provider, spec)
	defer b.release()
	_, ok := b.Sandbox.(sandbox.Resettable)
	return ok
}

func (b *box) tryReset() error { return b.Sandbox.(sandbox.Resettable).Reset(b.ctx) }

func (b *box) reset() {
	b.t.Helper()
	if err := b.tryReset(); err != nil {
		b.t.Fatalf("reset: %v", err)
	}
}

// wantAsNew checks that nothing is in the folders where commands write.
func (b *box) wantAsNew() {
	b.t.Helper()
	b.prints(`ls -A; ls -A "$TMPDIR"`, "")
}

var resetChecks = []check{
	{"files are gone", func(t *testing.T, s *suite) {
		b := s.box(t)
		id, workspace := b.ID(), b.workspace()
		for range 3 {
			b.ok(`mkdir -p a/b .hidden; echo x > a/b/f; echo x > .hidden/f; echo x > .f; echo x > -- -rf
				ln -s /etc etc; ln -s nowhere broken; ln .f hard
				printf x > 'two
lines'; printf x > 'sp ace'; echo x > "$TMPDIR/f"; echo x > "$TMPDIR/.f"; mkdir "$TMPDIR/d"`)
			b.put("sent/f", "content")
			b.reset()
			b.wantAsNew()
			if got := names(b.receive("**")); got != "" {
				t.Errorf("receive finds %q", got)
			}
		}
		if got := b.workspace(); got != workspace || b.ID() != id {
			t.Errorf("sandbox %s with workspace %s became %s with %s", id, workspace, b.ID(), got)
		}
	}},
	{"folders without permissions are gone", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok("mkdir -p a/b c; echo x > a/b/f; echo x > c/f; chmod 0 a/b; chmod 0 a; chmod 555 c; chmod 0 .")
		b.reset()
		b.wantAsNew()
		b.ok("echo x > f")
	}},
	{"it is a sandbox as before", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.succeed(sandbox.Command{Argv: []string{"sh", "-c", "echo x > f; echo $LEFT $TZ"}, Dir: "/tmp", Env: map[string]string{"LEFT": "1", "TZ": "Asia/Tokyo"}})
		b.reset()
		b.prints(`echo "${LEFT-unset} $TZ $PWD"`, "unset UTC "+b.workspace()+"\n")
		got := b.exec(sandbox.Command{Argv: []string{"sh", "-c", "cat; echo err >&2; exit 7"}, Stdin: bytes.NewReader([]byte("in"))})
		if got.Exit != 7 || got.stdout != "in" || got.stderr != "err\n" {
			t.Errorf("%+v, stdout %q, stderr %q", got.Result, got.stdout, got.stderr)
		}
		b.put("d/f", "content")
		if got := b.get("d/f"); got != "content" {
			t.Errorf("the file came back as %q", got)
		}
	}},
	{"what a command left running is gone", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok(`beat="while :; do echo x >> '$SBXRUN_WORKSPACE/beat'; sleep 0.05; done"
			sh -c "$beat" > /dev/null 2>&1 &
			(setsid sh -c "trap '' TERM INT HUP; $beat" > /dev/null 2>&1 &)
			while [ ! -s beat ]; do sleep 0.02; done`)
		b.reset()
		time.Sleep(300 * time.Millisecond)
		b.wantAsNew()
	}},
	{"what runs ends", func(t *testing.T, s *suite) {
		b := s.box(t)
		run := b.start(b.ctx, familyCommand("sleep 1000"))
		run.await("ready")
		b.reset()
		res, err := run.wait()
		if _, typed := errors.AsType[*sandbox.Error](err); err == nil && res.Signal == 0 || err != nil && !typed {
			t.Errorf("the command that ran: %+v, %v, want death by a signal or an *Error", res, err)
		}
		b.wantAsNew()
		b.usable()
	}},
	{"send and receive end", func(t *testing.T, s *suite) {
		b := s.box(t)
		sent := make(chan error, 1)
		b.ok("head -c 50000000 /dev/zero > big")
		r, err := b.Receive(b.ctx, []string{"big"})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := io.ReadFull(r, make([]byte, 10_000)); err != nil {
			t.Fatal(err)
		}
		go func() { sent <- b.Send(b.ctx, "", neverEnding()) }()
		time.Sleep(200 * time.Millisecond)
		b.reset()
		_, err = io.Copy(io.Discard, r)
		if _, typed := errors.AsType[*sandbox.Error](err); !typed {
			t.Errorf("reading on: %v, want an *Error", err)
		}
		select {
		case err := <-sent:
			if _, typed := errors.AsType[*sandbox.Error](err); !typed {
				t.Errorf("send: %v, want an *Error", err)
			}
		case <-b.ctx.Done():
			t.Error("send goes on after the reset")
		}
		b.wantAsNew()
	}},
	{"a full disk has room again", func(t *testing.T, s *suite) {
		if !s.cfg.Enforces.Disk {
			return
		}
		spec := s.spec(t)
		spec.Limits.Disk = 8 << 20
		b := s.boxWith(t, spec)
		for range 2 {
			b.ok("head -c 6000000 /dev/zero > f")
			b.reset()
		}
	}},
	{"after an error nothing but release", func(t *testing.T, s *suite) {
		b := s.box(t)
		ctx, cancel := cancellable(t)
		cancel()
		if err := b.Sandbox.(sandbox.Resettable).Reset(ctx); err == nil {
			t.Fatal("a reset under a cancelled context has no error")
		}
		_, err := b.Exec(b.ctx, sandbox.Command{Argv: []string{"true"}}, nil, nil)
		wantKind(t, "exec", err, sandbox.KindLost)
		wantKind(t, "send", b.Send(b.ctx, "", bytes.NewReader(pack(t))), sandbox.KindLost)
		wantKind(t, "receive", tryReceive(b.ctx, b, "*"), sandbox.KindLost)
		wantKind(t, "reset", b.tryReset(), sandbox.KindLost)
		b.release()
		_, err = b.Exec(b.ctx, sandbox.Command{Argv: []string{"true"}}, nil, nil)
		wantKind(t, "exec after release", err, sandbox.KindReleased)
	}},
	{"reset after release", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.release()
		wantKind(t, "reset", b.tryReset(), sandbox.KindReleased)
	}},
}
