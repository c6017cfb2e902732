package executor_test

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/executor"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// spans records what is traced as paths, such as run/sample/step=s.
type spans struct {
	mu           sync.Mutex
	begun, ended []string
	calls        map[string]bool // of the provider: METHOD in PATH
}

type span struct {
	all  *spans
	path string
}

func (s span) Start(name string, attributes ...string) executor.Span {
	if name == "step" {
		name += "=" + attributes[1]
	}
	child := span{s.all, s.path + "/" + name}
	s.all.mu.Lock()
	s.all.begun = append(s.all.begun, child.path)
	s.all.mu.Unlock()
	return child
}

func (s span) In(ctx context.Context) context.Context {
	return context.WithValue(ctx, spanKey{}, s.path)
}

type spanKey struct{}

func (s span) End(verdict, message string) {
	s.all.mu.Lock()
	s.all.ended = append(s.all.ended, s.path)
	s.all.mu.Unlock()
}

func (s *spans) call(ctx context.Context, method string) {
	path, _ := ctx.Value(spanKey{}).(string)
	s.mu.Lock()
	s.calls[method+" in "+path] = true
	s.mu.Unlock()
}

// listening tells in which span each method of a provider is called.
type listening struct {
	sandbox.Provider
	all *spans
}

type listeningBox struct {
	sandbox.Sandbox
	all *spans
}

func (l listening) Acquire(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	l.all.call(ctx, "acquire")
	sb, err := l.Provider.Acquire(ctx, spec)
	return listeningBox{sb, l.all}, err
}

func (l listeningBox) Exec(ctx context.Context, cmd sandbox.Command, stdout, stderr io.Writer) (sandbox.Result, error) {
	l.all.call(ctx, "exec")
	return l.Sandbox.Exec(ctx, cmd, stdout, stderr)
}

func (l listeningBox) Send(ctx context.Context, dir string, tar io.Reader) error {
	l.all.call(ctx, "send")
	return l.Sandbox.Send(ctx, dir, tar)
}

func (l listeningBox) Receive(ctx context.Context, globs []string) (io.ReadCloser, error) {
	l.all.call(ctx, "receive")
	return l.Sandbox.Receive(ctx, globs)
}

func (l listeningBox) Reset(ctx context.Context) error {
	l.all.call(ctx, "reset")
	return l.Sandbox.(sandbox.Resettable).Reset(ctx)
}

func (l listeningBox) Release(ctx context.Context) error {
	l.all.call(ctx, "release")
	return l.Sandbox.Release(ctx)
}

func TestSpans(t *testing.T) {
	for _, reuse := range []string{"never", "reset"} {
		all := &spans{calls: map[string]bool{}}
		b := newBench(t)
		b.programs = programs
		b.opts.Span = span{all, "run"}
		b.wrap = func(p sandbox.Provider) sandbox.Provider { return listening{p, all} }
		b.run(`
cases: {matrix: {n: [1, 2]}}
pool: {size: 1, warm: 1, reuse: ` + reuse + `}
files: [{content: x, dst: f}]
steps:
	- {name: server, background: true, run: echo up; hang, ready: {output: up}}
	- {name: a, run: cat f; cp f g, expect: {files: {g: {exists: true}}}}
collect: [{src: g}]
verify: [{name: v, run: 'true'}]
`)
		want := []string{"run/sample", "run/sample/acquire", "run/sample/release", "run/sample/step=a", "run/sample/step=server", "run/sample/step=v"}
		slices.Sort(all.begun)
		slices.Sort(all.ended)
		if got := slices.Compact(slices.Clone(all.begun)); !slices.Equal(got, want) {
			t.Errorf("spans %q", got)
		}
		if !slices.Equal(all.begun, all.ended) {
			t.Errorf("begun %q\nended %q", all.begun, all.ended)
		}
		calls := []string{
			"acquire in run/sample/acquire", "exec in run/sample/step=a", "exec in run/sample/step=server", "exec in run/sample/step=v",
			"send in run/sample/step=server", "receive in run/sample/step=a", "receive in run/sample", "send in run/sample/step=v", "release in run/sample/release",
		}
		if reuse == "reset" {
			calls = append(calls, "reset in run/sample/release")
		}
		for _, c := range calls {
			if !all.calls[c] {
				t.Errorf("%s: no %s", reuse, c)
			}
			delete(all.calls, c)
		}
		for c := range all.calls {
			if !strings.HasPrefix(c, "release in ") { // what is kept is released after all
				t.Errorf("%s: %s", reuse, c)
			}
		}
	}
}
