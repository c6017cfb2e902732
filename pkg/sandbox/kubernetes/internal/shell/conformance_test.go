package shell_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest"
)

// provider gives a pod of its own to each sandbox.
type provider struct {
	sh  string
	run sandbox.Run

	mu     sync.Mutex
	made   int
	held   map[string]*box
	closed bool
}

type box struct {
	*shell.Shell
	p    *provider
	id   string
	pod  *pod
	gone chan struct{}
	once sync.Once
}

func (p *provider) Acquire(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if spec.Network != "" {
		return nil, &sandbox.Error{Op: "acquire", Kind: sandbox.KindUnsupported, Err: errors.New("no networks")}
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, &sandbox.Error{Op: "acquire", Kind: sandbox.KindReleased, Err: errors.New("closed")}
	}
	p.made++
	id := fmt.Sprintf("%s-%d", p.run.ID, p.made)
	p.mu.Unlock()
	pod, err := startPod(p.sh)
	if err != nil {
		return nil, &sandbox.Error{Op: "acquire", ID: id, Kind: sandbox.KindUnavailable, Err: err}
	}
	b := &box{p: p, id: id, pod: pod, gone: make(chan struct{})}
	b.Shell = shell.New(shell.Options{
		ID: id, Transport: b.pod, Gone: b.gone, Files: spec.Limits.WithDefaults().Files,
		Cause: func() error { return &sandbox.Error{Kind: sandbox.KindReleased, Err: errors.New("released")} },
	})
	p.mu.Lock()
	p.held[id] = b
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return nil, errors.Join(b.Release(ctx), &sandbox.Error{Op: "acquire", Kind: sandbox.KindReleased, Err: errors.New("closed")})
	}
	return b, nil
}

func (p *provider) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	var held []*box
	for _, b := range p.held {
		held = append(held, b)
	}
	p.mu.Unlock()
	for _, b := range held {
		if err := b.Release(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p *provider) Warnings(sandbox.Spec) []string {
	return []string{"not enforced here: cpu, memory, pids, disk, inodes"}
}

func (b *box) ID() string { return b.id }

func (b *box) Release(context.Context) error {
	b.once.Do(func() {
		close(b.gone)
		b.pod.stop()
		b.p.mu.Lock()
		defer b.p.mu.Unlock()
		delete(b.p.held, b.id)
	})
	return nil
}

func TestConformance(t *testing.T) {
	for _, sh := range shells {
		t.Run(sh, func(t *testing.T) {
			sandboxtest.Run(t, sandboxtest.Config{
				Lacks: lacks[sh], Themes: themes[sh], Enforces: sandboxtest.Enforces{Files: true}, Parallel: true,
				Open: func(t *testing.T, run sandbox.Run) sandbox.Provider {
					return &provider{sh: sh, run: run, held: map[string]*box{}}
				},
			})
		})
	}
}

// themes are what differs from shell to shell; with dash, the sh of most images, it is everything.
var themes = map[string][]string{
	"bash":    {"exec", "kill"},
	"busybox": {"exec", "streams", "kill", "send", "receive", "reset"},
}

// lacks are what cannot hold with a sh, and why.
var lacks = map[string]map[string]string{
	"busybox": {"exec/death by a signal is 128 and the signal": "busybox's sh ignores QUIT, which the check has it send itself; TestSignals has the rest"},
	"bash":    {"exec/death by a signal is 128 and the signal": "bash as sh ignores QUIT, which the check has it send itself; TestSignals has the rest"},
}
