package sandboxtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

var bulkChecks = []check{
	{"0 B", roundTrip(0)},
	{"1 MB", roundTrip(1_000_000)},
	{"200 MB", roundTrip(200_000_000)},
}

// roundTrip sends a file, has the sandbox digest it, and receives it.
func roundTrip(size int64) func(*testing.T, *suite) {
	return func(t *testing.T, s *suite) {
		b, sent, back := s.box(t), newNoise(size), newCounter()
		moves := newMoves(t)
		b.ctx = moves.ctx
		s.flat(t, func() {
			if err := sandbox.Put(b.ctx, b, sandbox.File{Name: "dir/file", Mode: 0o640, Size: size}, io.TeeReader(sent, moves)); err != nil {
				t.Fatal(err)
			}
		})
		if got, want := b.ok("sha256sum < dir/file; wc -c < dir/file"), fmt.Sprintf("%x", sent.Sum(nil)); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, fmt.Sprintf("\n%d\n", size)) {
			t.Errorf("the sandbox has %q, want %s of %d bytes", got, want, size)
		}
		s.flat(t, func() {
			f, r, err := sandbox.Get(b.ctx, b, "dir/file")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, err := io.Copy(io.MultiWriter(back, moves), r); err != nil {
				t.Fatal(err)
			}
			if f.Name != "dir/file" || f.Size != size || f.Mode != 0o640 {
				t.Errorf("came back as %+v", f)
			}
		})
		if back.n != size || !bytes.Equal(back.Sum(nil), sent.Sum(nil)) {
			t.Errorf("%d bytes came back with digest %x, want %d with %x", back.n, back.Sum(nil), size, sent.Sum(nil))
		}
	}
}

// moves ends its context once nothing was written to it for as long as hang: how long it takes altogether is no matter of
// the suite's.
type moves struct {
	ctx   context.Context
	timer *time.Timer
}

func newMoves(t *testing.T) moves {
	ctx, cancel := context.WithCancelCause(t.Context())
	timer := time.AfterFunc(hang, func() { cancel(fmt.Errorf("nothing came for %v", hang)) })
	t.Cleanup(func() { timer.Stop(); cancel(nil) })
	return moves{ctx, timer}
}

func (m moves) Write(b []byte) (int, error) {
	m.timer.Reset(hang)
	return len(b), nil
}
