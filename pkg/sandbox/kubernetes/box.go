package kubernetes

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/claim"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

// inspectTimeout bounds the question what became of a sandbox that does not answer.
const inspectTimeout = 10 * time.Second

// box is one sandbox: a claim, and the shell that a runtime gives in its pod.
type box struct {
	provider  *Provider
	claim     *claim.Claim
	target    connect.Target
	transport transport
	shell     *shell.Shell

	died     atomic.Bool   // a command has said so
	release  sync.Mutex    // one release at a time
	released chan struct{} // closed when Release begins
	once     sync.Once
	over     chan struct{} // closed when the pod is gone, or released
}

var (
	_ sandbox.Sandbox    = (*box)(nil)
	_ sandbox.Addressed  = (*box)(nil)
	_ sandbox.Resettable = (*box)(nil)
)

func newBox(p *Provider, c *claim.Claim, target connect.Target, t transport, limits sandbox.Limits) *box {
	b := &box{provider: p, claim: c, target: target, transport: t, released: make(chan struct{}), over: make(chan struct{})}
	b.shell = shell.New(shell.Options{
		ID: c.Name, Transport: t, Gone: b.over, Cause: b.cause, Workspace: sandbox.Workspace,
		Files: limits.WithDefaults().Files,
	})
	go b.watch()
	return b
}

// watch closes over. It ends with the release at the latest.
func (b *box) watch() {
	defer close(b.over)
	select {
	case <-b.released:
	case <-b.claim.Gone():
	}
}

// cause says why the sandbox is over.
func (b *box) cause() error {
	select {
	case <-b.released:
		return &sandbox.Error{Op: "use", ID: b.ID(), Kind: sandbox.KindReleased, Err: errors.New("the sandbox was released")}
	default:
		return b.claim.Cause()
	}
}

// ID is the name of the claim.
func (b *box) ID() string { return b.claim.Name }

// Host is the address of the pod.
func (b *box) Host() string {
	if len(b.claim.PodIPs) == 0 {
		return ""
	}
	return b.claim.PodIPs[0]
}

// Exec runs a command. A pod that ended by itself, or for the memory or disk it took, is the command's result: the code
// under test did that; also a pod that stands and answers nothing. A pod that somebody took away, or that cannot be
// reached, is an error.
func (b *box) Exec(ctx context.Context, cmd sandbox.Command, stdout, stderr io.Writer) (sandbox.Result, error) {
	start, dead := time.Now(), b.died.Load()
	result, err := b.shell.Exec(ctx, cmd, stdout, stderr)
	if result.SandboxDied {
		b.died.Store(true)
	}
	if err == nil || sandbox.KindOf(err) != sandbox.KindLost || dead {
		return result, err
	}
	seen := b.inspect(ctx)
	if seen != nil {
		err = seen // which knows more of it
	}
	end := b.claim.End()
	switch {
	case seen == nil && b.silenced(ctx):
		end = claim.End{Died: true, Exit: 128 + 9}
	case !end.Died && !end.Disk:
		return result, err
	}
	b.died.Store(true)
	result = sandbox.Result{Exit: end.Exit, SandboxDied: true, Duration: time.Since(start)}
	switch {
	case end.OOM:
		result.Limit = sandbox.LimitOOM
	case end.Disk:
		result.Limit = sandbox.LimitDisk
	case seen == nil && cmd.Timeout > 0 && result.Duration > cmd.Timeout:
		result.Limit = sandbox.LimitTimeout
	}
	if end.Exit > 128 {
		result.Signal = end.Exit - 128
	}
	return result, nil
}

// inspect says what the cluster knows of the sandbox's end, nil if nothing.
func (b *box) inspect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), inspectTimeout)
	defer cancel()
	return b.claim.Inspect(ctx)
}

func (b *box) Send(ctx context.Context, dir string, tar io.Reader) error {
	return b.blame(ctx, "send", b.shell.Send(ctx, dir, tar))
}

func (b *box) Receive(ctx context.Context, globs []string) (io.ReadCloser, error) {
	stream, err := b.shell.Receive(ctx, globs)
	if err != nil {
		return nil, b.blame(ctx, "receive", err)
	}
	return &received{stream, b, ctx}, nil
}

// Reset empties the sandbox for another sample and moves the time at which the cluster takes it down.
func (b *box) Reset(ctx context.Context) error {
	if err := b.shell.Reset(ctx); err != nil {
		return err
	}
	return b.claim.Extend(ctx, b.provider.opts.lifetime())
}

// Release deletes the claim and returns when the cluster has taken its pod down.
func (b *box) Release(ctx context.Context) error {
	b.once.Do(func() { close(b.released) })
	b.release.Lock()
	defer b.release.Unlock()
	if err := errors.Join(b.end(), b.provider.claims.Release(ctx, b.claim)); err != nil {
		return err
	}
	b.provider.forget(b)
	return nil
}

// end ends what was opened for the sandbox on this side.
func (b *box) end() error {
	b.once.Do(func() { close(b.released) })
	return b.transport.Close()
}
