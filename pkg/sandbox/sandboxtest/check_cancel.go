package sandboxtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

var errCancelled = errors.New("cancelled by the check")

// cancellable returns a context whose cause will be errCancelled.
func cancellable(t *testing.T) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(deadline(t))
	t.Cleanup(func() { cancel(nil) })
	return ctx, func() { cancel(errCancelled) }
}

func wantCancelled(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, errCancelled) {
		t.Errorf("%s: error %v, want the cause of the context", what, err)
	}
}

var cancelChecks = []check{
	{"before each method", func(t *testing.T, s *suite) {
		b := s.box(t)
		ctx, cancel := cancellable(t)
		cancel()
		sb, err := s.provider.Acquire(ctx, s.spec(t))
		wantCancelled(t, "acquire", err)
		if sb != nil {
			t.Error("acquire returned a sandbox with an error")
		}
		_, err = b.Exec(ctx, sandbox.Command{Argv: []string{"sh", "-c", "echo ran > ran"}}, nil, nil)
		wantCancelled(t, "exec", err)
		wantCancelled(t, "send", b.Send(ctx, "", bytes.NewReader(pack(t, entry{name: "sent"}))))
		wantCancelled(t, "receive", tryReceive(ctx, b, "**"))
		b.prints("ls", "")
	}},
	{"during acquire", func(t *testing.T, s *suite) {
		for range 20 {
			ctx, cancel := cancellable(t)
			timer := time.AfterFunc(time.Duration(rand.Int64N(int64(10*time.Millisecond))), cancel)
			sb, err := s.provider.Acquire(ctx, s.spec(t))
			timer.Stop()
			if err != nil {
				wantCancelled(t, "acquire", err)
				continue
			}
			cancel()
			if err := sb.Release(deadline(t)); err != nil {
				t.Errorf("release: %v", err)
			}
		}
		s.box(t).usable()
	}},
	{"after acquire", func(t *testing.T, s *suite) {
		ctx, cancel := cancellable(t)
		sb, err := s.provider.Acquire(ctx, s.spec(t))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		b := &box{Sandbox: sb, t: t, ctx: deadline(t)}
		time.Sleep(100 * time.Millisecond)
		b.usable()
		if err := sb.Release(b.ctx); err != nil {
			t.Error(err)
		}
	}},
	{"during exec with stdin and output", func(t *testing.T, s *suite) {
		b, in := s.box(t), &endless{}
		defer in.closed.Store(true)
		ctx, cancel := cancellable(t)
		out := newCounter()
		time.AfterFunc(200*time.Millisecond, cancel)
		_, err := b.Exec(ctx, sandbox.Command{Argv: []string{"cat"}, Stdin: in}, out, nil)
		wantCancelled(t, "exec", err)
		b.usable()
	}},
	{"during exec that waits for stdin", func(t *testing.T, s *suite) {
		b := s.box(t)
		in, w := io.Pipe()
		defer w.Close()
		ctx, cancel := cancellable(t)
		time.AfterFunc(100*time.Millisecond, cancel)
		_, err := b.Exec(ctx, sandbox.Command{Argv: []string{"cat"}, Stdin: in}, nil, nil)
		wantCancelled(t, "exec", err)
		b.usable()
	}},
	{"after exec, its daemon goes on", func(t *testing.T, s *suite) {
		b := s.box(t)
		ctx, cancel := cancellable(t)
		script := "(while [ ! -e quit ]; do sleep 0.02; done; echo bye > last) > /dev/null 2>&1 & echo up"
		if res, err := b.Exec(ctx, sandbox.Command{Argv: []string{"sh", "-c", script}}, nil, nil); err != nil || res.Exit != 0 {
			t.Fatalf("%+v, %v", res, err)
		}
		cancel()
		time.Sleep(200 * time.Millisecond)
		b.ok(": > quit; while [ ! -s last ]; do sleep 0.02; done")
	}},
	{"during send", func(t *testing.T, s *suite) {
		b := s.box(t)
		ctx, cancel := cancellable(t)
		time.AfterFunc(200*time.Millisecond, cancel)
		wantCancelled(t, "send", b.Send(ctx, "", neverEnding()))
		b.usable()
		b.send("", entry{name: "after", content: "x"})
		b.prints("cat after", "x")
	}},
	{"during receive", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok("head -c 50000000 /dev/zero > big")
		ctx, cancel := cancellable(t)
		r, err := b.Receive(ctx, []string{"*"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, make([]byte, 10_000)); err != nil {
			t.Fatal(err)
		}
		cancel()
		_, err = io.Copy(io.Discard, r)
		wantCancelled(t, "reading on", err)
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		b.usable()
	}},
}

// neverEnding is a tar with one huge file, a part of it every millisecond.
func neverEnding() io.Reader {
	const header = "huge\x00"
	block := make([]byte, 512)
	copy(block, header)
	copy(block[100:], "0000644\x00")
	copy(block[108:], "0000000\x00")
	copy(block[116:], "0000000\x00")
	copy(block[124:], "77777777777\x00") // 8 GiB
	copy(block[136:], "00000000000\x00")
	copy(block[148:], "        ")
	block[156] = '0'
	copy(block[257:], "ustar\x0000")
	sum := 0
	for _, c := range block {
		sum += int(c)
	}
	digits := []byte("000000\x00 ")
	for i := 5; i >= 0; i, sum = i-1, sum/8 {
		digits[i] = '0' + byte(sum%8)
	}
	copy(block[148:], digits)
	return io.MultiReader(bytes.NewReader(block), trickle{&endless{pace: time.Millisecond}})
}

// trickle hands out small parts, so that a stream that nobody cancels fills no disk before the check is over.
type trickle struct{ r io.Reader }

func (t trickle) Read(b []byte) (int, error) { return t.r.Read(b[:min(len(b), 4096)]) }
