package sandboxtest

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

var fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

var concurrentChecks = []check{
	{"20 commands in one sandbox", func(t *testing.T, s *suite) {
		b := s.box(t)
		var group sync.WaitGroup
		for i := range 20 {
			group.Go(func() {
				out := newLines()
				in := strings.Repeat(fmt.Sprintf("input %d\n", i), 1000)
				cmd := sandbox.Command{Argv: []string{"sh"}, Script: fmt.Appendf(nil, "echo $V; cat; sleep 0.1; exit %d", i), Env: map[string]string{"V": fmt.Sprint(i)}, Stdin: strings.NewReader(in)}
				res, err := b.Exec(b.ctx, cmd, out, nil)
				if want := fmt.Sprintf("%d\n%s", i, in); err != nil || res.Exit != i || out.String() != want {
					t.Errorf("command %d: %+v, %v, %d bytes of output, want %d", i, res, err, len(out.String()), len(want))
				}
			})
		}
		group.Wait()
	}},
	{"files and commands at once", func(t *testing.T, s *suite) {
		b := s.box(t)
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				name, content := fmt.Sprintf("d%d/f", i), strings.Repeat(fmt.Sprint(i), 100_000)
				f := sandbox.File{Name: name, Mode: 0o644, Size: int64(len(content))}
				if err := sandbox.Put(b.ctx, b, f, strings.NewReader(content)); err != nil {
					t.Errorf("put %s: %v", name, err)
					return
				}
				if res, err := b.Exec(b.ctx, sandbox.Command{Argv: []string{"cp", name, name + "2"}}, nil, nil); err != nil || res.Exit != 0 {
					t.Errorf("cp %s: %+v, %v", name, res, err)
				}
				r, err := b.Receive(b.ctx, []string{name + "*"})
				if err != nil {
					t.Errorf("receive %s: %v", name, err)
					return
				}
				if got, err := unpack(r); err != nil || len(got) != 2 || got[0].content != content || got[1].content != content {
					t.Errorf("receive %s: %d entries, %v", name, len(got), err)
				}
			})
		}
		group.Wait()
	}},
	{"sandboxes at once, with ids of their own", func(t *testing.T, s *suite) {
		ctx, spec := deadline(t), s.spec(t)
		var group sync.WaitGroup
		var ids sync.Map
		for i := range 12 {
			group.Go(func() {
				sb, err := s.provider.Acquire(ctx, spec)
				if err != nil {
					t.Errorf("acquire: %v", err)
					return
				}
				if _, twice := ids.LoadOrStore(sb.ID(), true); twice || !fileName.MatchString(sb.ID()) {
					t.Errorf("id %q: used twice is %v; it should be fit for a file name", sb.ID(), twice)
				}
				res, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"sh", "-c", fmt.Sprintf("[ ! -e mine ] && : > mine && exit %d", i)}}, nil, nil)
				if err != nil || res.Exit != i {
					t.Errorf("sandbox %d: %+v, %v", i, res, err)
				}
				if err := sb.Release(ctx); err != nil {
					t.Errorf("release: %v", err)
				}
			})
		}
		group.Wait()
	}},
	{"files of one sandbox are not in another", func(t *testing.T, s *suite) {
		a, b := s.box(t), s.box(t)
		a.ok(`echo a > f; echo a > "$TMPDIR/f"`)
		b.prints(`ls -A; ls -A "$TMPDIR"`, "")
		b.ok(`echo b > f; echo b > "$TMPDIR/f"`)
		a.prints(`cat f "$TMPDIR/f"`, "a\na\n")
		b.put("g", "b")
		if got := names(a.receive("**")); got != "f\n" {
			t.Errorf("the other sandbox has %q", got)
		}
	}},
	{"processes of one sandbox are not seen in another", func(t *testing.T, s *suite) {
		a, b := s.box(t), s.box(t)
		b.wantOwnProcesses()
		const mark = "98765.4321"
		run := a.start(a.ctx, sandbox.Command{Argv: []string{"sh", "-c", "echo up; while [ ! -e go ]; do sleep 0.02; done; echo end", mark}})
		run.await("up")
		if got := b.ok("cat /proc/[0-9]*/cmdline 2>/dev/null || true"); strings.Contains(got, mark) {
			t.Error("a process of another sandbox is visible")
		}
		b.sh("kill -9 -1")
		a.ok(": > go")
		if res, err := run.wait(); err != nil || res.Exit != 0 {
			t.Errorf("the command in the other sandbox: %+v, %v", res, err)
		}
	}},
	{"a new sandbox has nothing of the one before", func(t *testing.T, s *suite) {
		for range 3 {
			b := s.box(t)
			b.prints(`ls -A; ls -A "$TMPDIR"; echo x > left; echo y > "$TMPDIR/left"`, "")
			if err := b.Release(b.ctx); err != nil {
				t.Fatal(err)
			}
		}
	}},
}
