package shell_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

// slow is a way that carries so many bytes a second, shared by all that goes over it. A Run has a time limit in place of MaxRun.
type slow struct {
	*pod
	rate int
	line *sync.Mutex
}

const slowLimit = time.Second

func (s slow) shell(id string) *shell.Shell {
	sh := shell.New(shell.Options{ID: id, Transport: s})
	sh.Hurry(slowLimit, time.Minute)
	return sh
}

func (s slow) carry(ctx context.Context, n int) error {
	for ; n > 0 && ctx.Err() == nil; n -= 16 << 10 {
		s.line.Lock()
		time.Sleep(time.Duration(min(n, 16<<10)) * time.Second / time.Duration(s.rate))
		s.line.Unlock()
	}
	return ctx.Err()
}

func (s slow) Run(ctx context.Context, argv []string) (shell.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, slowLimit)
	defer cancel()
	reply, err := s.pod.Run(ctx, argv)
	if err == nil {
		err = s.carry(ctx, len(reply.Stdout))
	}
	return reply, err
}

func (s slow) Upload(ctx context.Context, name string, data []byte) (string, error) {
	if err := s.carry(ctx, len(data)); err != nil {
		return "", err
	}
	return s.pod.Upload(ctx, name, data)
}

// A line that is slow, or shared by many, is no error: what is asked for becomes less, and what is sent has its time.
func TestSlowLine(t *testing.T) {
	t.Parallel()
	var numbers strings.Builder
	for i := 1; numbers.Len() < 2<<20; i++ {
		fmt.Fprintln(&numbers, i)
	}
	text := numbers.String()
	write := fmt.Sprintf("seq 1000000 | head -c %d", len(text))

	t.Run("files from many sandboxes", func(t *testing.T) {
		t.Parallel()
		way := slow{newPod(t, shells[0]), 6 << 20, new(sync.Mutex)}
		var group sync.WaitGroup
		for i := range 5 {
			group.Go(func() {
				name := fmt.Sprintf("f%d", i)
				b := sender{way.shell(name)}
				if _, err := b.Exec(t.Context(), sandbox.Command{Argv: []string{"sh", "-c", write + " > " + name}}, nil, nil); err != nil {
					t.Error(err)
					return
				}
				_, r, err := sandbox.Get(t.Context(), b, name)
				if err != nil {
					t.Error(err)
					return
				}
				defer r.Close()
				if got, err := io.ReadAll(r); err != nil || string(got) != text {
					t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(text), err)
				}
			})
		}
		group.Wait()
	})
	t.Run("output", func(t *testing.T) {
		t.Parallel()
		s := slow{newPod(t, shells[0]), 1 << 20, new(sync.Mutex)}.shell("output")
		var out bytes.Buffer
		res, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"sh", "-c", write}}, &out, nil)
		if err != nil || res.Exit != 0 || out.String() != text {
			t.Errorf("%+v, %v, %d bytes of %d", res, err, out.Len(), len(text))
		}
	})
	t.Run("a file sent", func(t *testing.T) {
		t.Parallel()
		s := slow{newPod(t, shells[0]), 600 << 10, new(sync.Mutex)}.shell("sent")
		f := sandbox.File{Name: "f", Mode: 0o644, Size: int64(len(text))}
		if err := sandbox.Put(t.Context(), sender{s}, f, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		if got := dump(t, s, write+" | cmp - f && echo same"); got != "same\n" {
			t.Errorf("%q", got)
		}
	})
}

// A request that gets no answer has a second try, however long the first one took.
func TestSecondTry(t *testing.T) {
	f := &faulty{Transport: newPod(t, shells[0])}
	s := shell.New(shell.Options{ID: "second", Transport: f})
	s.Hurry(shell.MaxRun, 0)
	f.before.Store(1)
	if err := run(t, s, sandbox.Command{Argv: []string{"true"}}); err != nil {
		t.Error(err)
	}
}
