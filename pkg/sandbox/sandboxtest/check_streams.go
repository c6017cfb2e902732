package sandboxtest

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

var streamChecks = []check{
	{"no stdin is end of file at once", func(t *testing.T, s *suite) {
		s.box(t).prints("cat; echo end", "end\n")
	}},
	{"stdin of every byte", func(t *testing.T, s *suite) {
		b := s.box(t)
		in := strings.Repeat(allBytes, 3)
		if got := b.succeed(sandbox.Command{Argv: []string{"cat"}, Stdin: strings.NewReader(in)}); got != in {
			t.Errorf("cat printed %d bytes: %q", len(got), tail(got))
		}
	}},
	{"stdin ends when its reader does", func(t *testing.T, s *suite) {
		r, w := io.Pipe()
		b := s.box(t)
		run := b.start(b.ctx, sandbox.Command{Argv: []string{"sh", "-c", "read a; echo $a; read b; echo $b; cat; echo end"}, Stdin: r})
		for _, line := range []string{"one", "two"} {
			fmt.Fprintln(w, line)
			run.await(line)
		}
		w.Close()
		if res, err := run.wait(); err != nil || res.Exit != 0 || run.out.String() != "one\ntwo\nend\n" {
			t.Errorf("%+v, %v, stdout %q", res, err, run.out)
		}
	}},
	{"stdin that the command ignores", func(t *testing.T, s *suite) {
		b := s.box(t)
		silent, w := io.Pipe()
		defer w.Close()
		for _, argv := range [][]string{{"true"}, {"sh", "-c", "exec <&-; sleep 0.1"}, {"sh", "-c", "exec < /dev/null; cat"}, {"head", "-c", "1"}} {
			for name, in := range map[string]io.Reader{"endless": &endless{}, "silent": silent, "short": strings.NewReader("x")} {
				if name == "silent" && argv[0] == "head" {
					continue // it would wait for the byte
				}
				if got := b.exec(sandbox.Command{Argv: argv, Stdin: in}); got.Exit != 0 {
					t.Errorf("%q with %s stdin: %+v, %q", argv, name, got.Result, got.stderr)
				}
			}
		}
	}},
	{"64 MiB of stdin", func(t *testing.T, s *suite) {
		b, in := s.box(t), newNoise(64<<20)
		s.flat(t, func() {
			got := b.succeed(sandbox.Command{Argv: []string{"sha256sum"}, Stdin: in})
			if want := fmt.Sprintf("%x", in.Sum(nil)); !strings.HasPrefix(got, want) {
				t.Errorf("sha256sum of stdin is %q, want %s", got, want)
			}
		})
	}},
	{"output of every byte", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.put("bytes", allBytes)
		if got := b.succeed(sandbox.Command{Argv: []string{"cat", "bytes"}}); got != allBytes {
			t.Errorf("stdout is %q", got)
		}
		if got := b.sh("cat bytes >&2"); got.stderr != allBytes {
			t.Errorf("stderr is %q", got.stderr)
		}
	}},
	{"64 MiB of output", func(t *testing.T, s *suite) {
		const size = 64 << 20
		line := []byte("the same line over and over again, with its end\n")
		want := newCounter()
		for n := size; n > 0; {
			k, _ := want.Write(line[:min(n, len(line))])
			n -= k
		}
		b, out := s.box(t), newCounter()
		s.flat(t, func() {
			script := fmt.Sprintf("yes '%s' | head -c %d", bytes.TrimSpace(line), size)
			if res, err := b.Exec(b.ctx, sandbox.Command{Argv: []string{"sh", "-c", script}}, out, nil); err != nil || res.Exit != 0 {
				t.Fatalf("%+v, %v", res, err)
			}
		})
		if out.n != size || !bytes.Equal(out.Sum(nil), want.Sum(nil)) {
			t.Errorf("%d bytes arrived with digest %x, want %d with %x", out.n, out.Sum(nil), size, want.Sum(nil))
		}
	}},
	{"both directions at once", func(t *testing.T, s *suite) {
		b, in, out := s.box(t), newNoise(16<<20), newCounter()
		if res, err := b.Exec(b.ctx, sandbox.Command{Argv: []string{"cat"}, Stdin: in}, out, nil); err != nil || res.Exit != 0 {
			t.Fatalf("%+v, %v", res, err)
		}
		if !bytes.Equal(out.Sum(nil), in.Sum(nil)) {
			t.Errorf("16 MiB through cat came back as %d other bytes", out.n)
		}
	}},
	{"stdout and stderr are kept apart", func(t *testing.T, s *suite) {
		got := s.box(t).sh("for i in 1 2 3 4 5; do echo out$i; echo err$i >&2; done")
		if got.stdout != "out1\nout2\nout3\nout4\nout5\n" || got.stderr != "err1\nerr2\nerr3\nerr4\nerr5\n" {
			t.Errorf("stdout %q, stderr %q", got.stdout, got.stderr)
		}
	}},
	{"one writer for both streams", func(t *testing.T, s *suite) {
		b, both := s.box(t), newLines()
		const script = "echo a; while [ ! -e a ]; do sleep 0.02; done; echo b >&2; while [ ! -e b ]; do sleep 0.02; done; echo c"
		run := b.startWith(b.ctx, sandbox.Command{Argv: []string{"sh", "-c", script}}, both, both)
		for _, line := range []string{"a", "b"} { // what is written at once may come in any order
			run.await(line)
			b.ok(": > " + line)
		}
		_, err := run.wait()
		if err != nil || both.String() != "a\nb\nc\n" {
			t.Errorf("wrote %q, error %v, want the order of writing", both, err)
		}
	}},
	{"output is passed on while the command runs", func(t *testing.T, s *suite) {
		b := s.box(t)
		run := b.start(b.ctx, sandbox.Command{Argv: []string{"sh", "-c", "echo first; while [ ! -e go ]; do sleep 0.02; done; echo second"}})
		run.await("first")
		b.ok(": > go")
		if res, err := run.wait(); err != nil || res.Exit != 0 {
			t.Errorf("%+v, %v", res, err)
		}
	}},
	{"no writers", func(t *testing.T, s *suite) {
		b := s.box(t)
		res, err := b.Exec(b.ctx, sandbox.Command{Argv: []string{"sh", "-c", "echo out; echo err >&2; yes | head -c 1000000; exit 4"}}, nil, nil)
		if err != nil || res.Exit != 4 {
			t.Errorf("%+v, %v, want exit status 4", res, err)
		}
	}},
	{"a slow writer loses nothing", func(t *testing.T, s *suite) {
		b, out := s.box(t), &slow{}
		res, err := b.Exec(b.ctx, sandbox.Command{Argv: []string{"sh", "-c", "yes | head -c 500000"}}, out, nil)
		if err != nil || res.Exit != 0 || out.n.Load() != 500_000 {
			t.Errorf("%d bytes of 500000 arrived, %+v, %v", out.n.Load(), res, err)
		}
	}},
	{"writers are left alone after Exec", func(t *testing.T, s *suite) {
		b, out := s.box(t), &slow{}
		script := "(while [ ! -e stop ]; do echo x; sleep 0.01; done) & echo started"
		if res, err := b.Exec(b.ctx, sandbox.Command{Argv: []string{"sh", "-c", script}}, out, out); err != nil || res.Exit != 0 {
			t.Fatalf("%+v, %v", res, err)
		}
		n := out.n.Load()
		b.ok("sleep 0.3; : > stop")
		if after := out.n.Load(); after != n {
			t.Errorf("%d bytes were written after Exec had returned", after-n)
		}
	}},
}

// slow is an output that takes its time.
type slow struct{ n atomic.Int64 }

func (s *slow) Write(b []byte) (int, error) {
	time.Sleep(time.Millisecond)
	s.n.Add(int64(len(b)))
	return len(b), nil
}
