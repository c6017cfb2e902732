package sandboxtest

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

var releaseChecks = []check{
	{"each method after release", func(t *testing.T, s *suite) {
		b := s.box(t)
		id := b.ID()
		b.release()
		_, err := b.Exec(b.ctx, sandbox.Command{Argv: []string{"true"}}, nil, nil)
		wantKind(t, "exec", err, sandbox.KindReleased)
		wantKind(t, "send", b.Send(b.ctx, "", bytes.NewReader(pack(t))), sandbox.KindReleased)
		_, err = b.Receive(b.ctx, []string{"*"})
		wantKind(t, "receive", err, sandbox.KindReleased)
		if b.ID() != id || id == "" {
			t.Errorf("id %q became %q", id, b.ID())
		}
	}},
	{"release twice", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.release()
		b.release()
	}},
	{"release many times at once", func(t *testing.T, s *suite) {
		b := s.box(t)
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				if err := b.Release(b.ctx); err != nil {
					t.Errorf("release: %v", err)
				}
			})
		}
		group.Wait()
	}},
	{"release during exec", func(t *testing.T, s *suite) {
		b := s.box(t)
		run := b.start(b.ctx, familyCommand("sleep 1000"))
		run.await("ready")
		b.release()
		_, err := run.wait()
		wantKind(t, "exec", err, sandbox.KindReleased)
	}},
	{"release during exec that waits for stdin", func(t *testing.T, s *suite) {
		b := s.box(t)
		in, w := io.Pipe()
		defer w.Close()
		run := b.start(b.ctx, sandbox.Command{Argv: []string{"sh", "-c", "echo up; cat"}, Stdin: in})
		run.await("up")
		b.release()
		_, err := run.wait()
		wantKind(t, "exec", err, sandbox.KindReleased)
	}},
	{"release during send", func(t *testing.T, s *suite) {
		b := s.box(t)
		sent := make(chan error, 1)
		go func() { sent <- b.Send(b.ctx, "", neverEnding()) }()
		time.Sleep(200 * time.Millisecond)
		b.release()
		select {
		case err := <-sent:
			wantKind(t, "send", err, sandbox.KindReleased)
		case <-b.ctx.Done():
			t.Error("send goes on after release")
		}
	}},
	{"release during receive", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok("head -c 50000000 /dev/zero > big")
		r, err := b.Receive(b.ctx, []string{"*"})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := io.ReadFull(r, make([]byte, 10_000)); err != nil {
			t.Fatal(err)
		}
		b.release()
		_, err = io.Copy(io.Discard, r)
		wantKind(t, "reading on", err, sandbox.KindReleased)
	}},
	{"release with daemons", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok("for i in 1 2 3 4 5; do (setsid sh -c 'trap \"\" TERM; while :; do sleep 0.05; done' &) done; echo up")
		b.release()
	}},
	{"close releases what is held", func(t *testing.T, s *suite) {
		p := open(t, s.cfg)
		first, second := acquire(t, p, s.spec(t)), acquire(t, p, s.spec(t))
		run := first.start(first.ctx, sandbox.Command{Argv: []string{"sh", "-c", "echo up; sleep 1000"}})
		run.await("up")
		if err := p.Close(first.ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		_, err := run.wait()
		wantKind(t, "the command that ran", err, sandbox.KindReleased)
		_, err = second.Exec(second.ctx, sandbox.Command{Argv: []string{"true"}}, nil, nil)
		wantKind(t, "exec after close", err, sandbox.KindReleased)
		if _, err := p.Acquire(first.ctx, s.spec(t)); err == nil {
			t.Error("acquire after close gave a sandbox")
		}
	}},
	{"close twice, and of a provider without sandboxes", func(t *testing.T, s *suite) {
		p := open(t, s.cfg)
		for range 2 {
			if err := p.Close(deadline(t)); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	}},
	{"close during acquire", func(t *testing.T, s *suite) {
		p := open(t, s.cfg)
		ctx := deadline(t)
		var group sync.WaitGroup
		for range 6 {
			group.Go(func() {
				sb, err := p.Acquire(ctx, s.spec(t))
				if err != nil {
					return // it came too late
				}
				if _, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"true"}}, nil, nil); err != nil {
					wantKind(t, "exec", err, sandbox.KindReleased)
				}
			})
		}
		time.Sleep(3 * time.Millisecond)
		if err := p.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		group.Wait()
	}},
	{"one release leaves the others alone", func(t *testing.T, s *suite) {
		a, b := s.box(t), s.box(t)
		run := b.start(b.ctx, sandbox.Command{Argv: []string{"sh", "-c", "echo up; while [ ! -e go ]; do sleep 0.02; done; exit 6"}})
		run.await("up")
		a.release()
		b.ok(": > go")
		if res, err := run.wait(); err != nil || res.Exit != 6 {
			t.Errorf("the command in the other sandbox: %+v, %v", res, err)
		}
	}},
}

func (b *box) release() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	if err := b.Release(ctx); err != nil {
		b.t.Errorf("release: %v", err)
	}
}
