package sandboxtest

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// box is a sandbox with what the checks do in it.
type box struct {
	sandbox.Sandbox
	t   *testing.T
	ctx context.Context
}

// outcome is how a command ended and what it wrote.
type outcome struct {
	sandbox.Result
	stdout, stderr string
}

// exec runs a command and fails the test where the sandbox does.
func (b *box) exec(cmd sandbox.Command) outcome {
	b.t.Helper()
	var stdout, stderr bytes.Buffer
	res, err := b.Exec(b.ctx, cmd, &stdout, &stderr)
	if err != nil {
		b.t.Fatalf("exec %q: %v (stderr %q)", brief(cmd), err, tail(stderr.String()))
	}
	return outcome{res, stdout.String(), stderr.String()}
}

// sh runs a script.
func (b *box) sh(script string) outcome {
	b.t.Helper()
	return b.exec(sandbox.Command{Argv: []string{"sh", "-e"}, Script: []byte(script)})
}

// ok runs a script that has to succeed and returns its stdout.
func (b *box) ok(script string) string {
	b.t.Helper()
	return b.succeed(sandbox.Command{Argv: []string{"sh", "-e"}, Script: []byte(script)})
}

// succeed runs a command that has to succeed and returns its stdout.
func (b *box) succeed(cmd sandbox.Command) string {
	b.t.Helper()
	got := b.exec(cmd)
	if got.Exit != 0 {
		b.t.Fatalf("%q: %+v, stderr %q", brief(cmd), got.Result, tail(got.stderr))
	}
	return got.stdout
}

// prints checks the stdout of a script that has to succeed.
func (b *box) prints(script, want string) {
	b.t.Helper()
	if got := b.ok(script); got != want {
		b.t.Errorf("%q printed %q, want %q", script, tail(got), tail(want))
	}
}

// workspace is the path of the workspace.
func (b *box) workspace() string {
	b.t.Helper()
	return b.ok(`printf %s "$SBXRUN_WORKSPACE"`)
}

// put makes a file.
func (b *box) put(name, content string) {
	b.t.Helper()
	f := sandbox.File{Name: name, Mode: 0o644, Size: int64(len(content))}
	if err := sandbox.Put(b.ctx, b, f, strings.NewReader(content)); err != nil {
		b.t.Fatalf("put %q: %v", name, err)
	}
}

// get returns the content of a file.
func (b *box) get(name string) string {
	b.t.Helper()
	_, r, err := sandbox.Get(b.ctx, b, name)
	if err != nil {
		b.t.Fatalf("get %q: %v", name, err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		b.t.Fatalf("get %q: %v", name, err)
	}
	return string(content)
}

// usable checks that the sandbox still runs commands.
func (b *box) usable() {
	b.t.Helper()
	b.prints("echo usable", "usable\n")
}

// started is an Exec that runs beside the test.
type started struct {
	t      *testing.T
	ctx    context.Context
	out    *lines
	done   chan struct{}
	result sandbox.Result
	err    error
}

// start runs a command and returns at once.
func (b *box) start(ctx context.Context, cmd sandbox.Command) *started {
	return b.startWith(ctx, cmd, newLines(), nil)
}

// startWith is start with writers of the caller's.
func (b *box) startWith(ctx context.Context, cmd sandbox.Command, stdout *lines, stderr io.Writer) *started {
	s := &started{t: b.t, ctx: b.ctx, out: stdout, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.result, s.err = b.Exec(ctx, cmd, stdout, stderr)
	}()
	return s
}

// await waits for a line of stdout.
func (s *started) await(line string) {
	s.t.Helper()
	select {
	case <-s.out.seen(line):
	case <-s.done:
		s.t.Fatalf("the command ended before it printed %q: %+v, %v, stdout %q", line, s.result, s.err, tail(s.out.String()))
	case <-s.ctx.Done():
		s.t.Fatalf("waiting for %q: %v", line, context.Cause(s.ctx))
	}
}

// wait waits for the end.
func (s *started) wait() (sandbox.Result, error) {
	s.t.Helper()
	select {
	case <-s.done:
	case <-s.ctx.Done():
		s.t.Fatalf("waiting for the command to end: %v", context.Cause(s.ctx))
	}
	return s.result, s.err
}

// wantKind checks the kind of an error.
func wantKind(t *testing.T, what string, err error, want sandbox.Kind) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("%s: no error, want one of kind %q", what, want)
	case sandbox.KindOf(err) != want:
		t.Errorf("%s: error %q of kind %q, want %q", what, err, sandbox.KindOf(err), want)
	}
}

func brief(cmd sandbox.Command) string {
	return tail(strings.Join(cmd.Argv, " ") + " " + string(cmd.Script))
}

// tail cuts what would make a message unreadable.
func tail(s string) string {
	if len(s) > 300 {
		return "..." + s[len(s)-300:]
	}
	return s
}
