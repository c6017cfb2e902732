// Package sandboxd is the runtime `sandboxd`: commands run through the gRPC ProcessService of Agent Sandbox's daemon
// (packages/sandboxd/spec/process/v1 of sigs.k8s.io/agent-sandbox). What commands mean belongs in package shell, the way to
// the pod in package connect.
package sandboxd

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	processv1 "sigs.k8s.io/agent-sandbox/packages/sandboxd/spec/process/v1"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/runtime/part"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

// DefaultPort is where the daemon serves gRPC.
const DefaultPort = 9090

// Transport runs commands through the daemon of one sandbox, over one connection that is made when it is needed, and made
// again when it broke. Its methods may be called from many goroutines.
type Transport struct {
	connector connect.Connector
	target    connect.Target
	paths     *Paths
	worked    atomic.Bool // the daemon has answered
	ran       sync.Map    // programs that it has started
	closed    context.Context
	close     context.CancelFunc

	dialing chan struct{} // held by the one that makes the connection
	mu      sync.Mutex
	link    *link // nil: to be made
}

var _ shell.Transport = (*Transport)(nil)

// New makes a transport to the target's port, DefaultPort if that is zero. It makes no request.
func New(c connect.Connector, t connect.Target, paths *Paths) *Transport {
	if t.Port == 0 {
		t.Port = DefaultPort
	}
	closed, end := context.WithCancel(context.Background())
	return &Transport{connector: c, target: t, paths: paths, closed: closed, close: end, dialing: make(chan struct{}, 1)}
}

// Close ends the connection and the calls on it.
func (t *Transport) Close() error {
	t.close()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.link != nil {
		t.link.close()
		t.link = nil
	}
	return nil
}

// Run runs argv in the daemon's root folder.
func (t *Transport) Run(ctx context.Context, argv []string) (shell.Reply, error) {
	var reply shell.Reply
	err := t.call(ctx, "exec", func(ctx context.Context, c processv1.ProcessServiceClient) error {
		r, err := c.Execute(ctx, &processv1.ExecuteRequest{Config: &processv1.ProcessConfig{Command: argv}})
		reply = shell.Reply{Stdout: r.GetStdout(), Stderr: r.GetStderr(), Exit: exit(r.GetExitCode())}
		return err
	})
	code := status.Code(err)
	missing := code == codes.NotFound || code == codes.PermissionDenied
	_, ran := t.ran.Load(argv[0])
	switch {
	case err == nil && !ran:
		t.ran.Store(argv[0], true)
	case missing && ran: // the same answer, but it cannot be the program
		return reply, t.final("exec", sandbox.KindLost, fmt.Errorf(
			"sandboxd cannot start commands in its root folder any more, which code in the sandbox has removed or closed: %s", part.Cut(status.Convert(err).Message())))
	case code == codes.NotFound:
		return shell.Reply{Exit: 127, Stderr: []byte(status.Convert(err).Message())}, nil
	case code == codes.PermissionDenied:
		return shell.Reply{Exit: 126, Stderr: []byte(status.Convert(err).Message())}, nil
	}
	return reply, t.explain("exec", err)
}

// Upload stores data through the input of a process: the daemon's own upload writes below its root folder alone, where
// the workspace is.
func (t *Transport) Upload(ctx context.Context, name string, data []byte) (string, error) {
	var out output
	err := t.call(ctx, "send", func(ctx context.Context, c processv1.ProcessServiceClient) (err error) {
		out, err = feed(ctx, c, part.Command(name, len(data)), data)
		return err
	})
	if err != nil {
		return "", t.explain("send", err)
	}
	return part.Path(out.exit, out.stdout, out.stderr)
}
