package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/runtime/python"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

const (
	// knockTimeout is for the way to show that it stands.
	knockTimeout = 10 * time.Second
	// silenceTimeout is for all that silenced asks, of which the last is a command.
	silenceTimeout = 2*knockTimeout + shell.MaxRun
)

// silenced says, of a sandbox that gives no answers, whether what runs in it has made that so: its pod stands on a node that is
// well, the way up to it answers, and the sandbox still does not. Code that shares the runtime's user can occupy the
// runtime, stop it, or take its place; errors are left out of scores, and must not be had for that. Where one of
// the three cannot be told, the way is to blame.
func (b *box) silenced(caller context.Context) bool {
	ctx, cancel := context.WithTimeout(caller, silenceTimeout)
	defer cancel()
	if !b.claim.Stands(ctx) {
		return false
	}
	_, web := b.transport.(*python.Transport)
	if web && !b.provider.leadsTo(ctx, b.target) {
		return false
	}
	_, err := b.transport.Run(ctx, []string{"true"})
	if err == nil || caller.Err() != nil {
		return false
	}
	if !web { // by the API server and the node, of which nothing shows that they can be passed: an answer has to say it
		e, typed := errors.AsType[*sandbox.Error](err)
		return typed && e.Kind == sandbox.KindLost
	}
	return true
}

// blame makes an error of what runs in the sandbox where that, and nobody else, has made it unusable: for Send and Receive,
// which have no Result that could say so.
func (b *box) blame(ctx context.Context, op string, err error) error {
	if err == nil || sandbox.KindOf(err) != sandbox.KindLost || b.died.Load() {
		return err
	}
	seen := b.inspect(ctx)
	why := "what runs in the sandbox keeps it from answering"
	switch end := b.claim.End(); {
	case end.Died || end.Disk:
		why = "what ran in the sandbox has ended it"
	case seen != nil:
		return seen
	case !b.silenced(ctx):
		return err
	}
	return &sandbox.Error{Op: op, ID: b.ID(), Kind: sandbox.KindInvalid, Err: fmt.Errorf("%s: %w", why, cmp.Or(seen, err))}
}

// received is a stream whose errors are looked into.
type received struct {
	io.ReadCloser
	box *box
	ctx context.Context
}

func (r *received) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	return n, r.box.blame(r.ctx, "receive", err)
}

// leadsTo says whether the way to a server in a sandbox stands, all but its last step.
func (p *Provider) leadsTo(ctx context.Context, t connect.Target) bool {
	ctx, cancel := context.WithTimeout(ctx, knockTimeout)
	defer cancel()
	if p.opts.Connection == ConnectionInCluster {
		return reachable(ctx, t)
	}
	_, err := router(ctx, p.connector, t.Namespace)
	return err == nil
}

// reachable says whether the kernel of a pod answers: by accepting a connection, or by refusing it.
func reachable(ctx context.Context, t connect.Target) bool {
	port := strconv.Itoa(cmp.Or(t.Port, python.Port))
	for _, ip := range t.PodIPs {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(ip, port))
		if err == nil {
			return conn.Close() == nil
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return true
		}
	}
	return false
}
