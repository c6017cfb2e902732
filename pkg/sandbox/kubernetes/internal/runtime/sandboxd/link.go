package sandboxd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	processv1 "sigs.k8s.io/agent-sandbox/packages/sandboxd/spec/process/v1"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/runtime/part"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

// mostMessage bounds one message: both streams of a command, or its arguments.
const mostMessage = shell.MaxReply + 1<<20

// link is one gRPC connection over one stream to the pod. gRPC does not get to make another by itself: its waiting times
// are those of servers, and it would hide why the way to the pod failed.
type link struct {
	client  processv1.ProcessServiceClient
	grpc    *grpc.ClientConn
	conn    net.Conn
	calls   int  // guarded by Transport.mu
	retired bool // guarded by Transport.mu; to be closed when the calls have ended
}

func newLink(conn net.Conn, name string) (*link, error) {
	var once sync.Once
	cc, err := grpc.NewClient("passthrough:///"+name,
		grpc.WithContextDialer(func(context.Context, string) (c net.Conn, err error) {
			err = errors.New("the connection ended")
			once.Do(func() { c, err = conn, nil })
			return c, err
		}),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithUserAgent("sbxrun"),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(mostMessage), grpc.MaxCallSendMsgSize(mostMessage)),
		grpc.WithMaxHeaderListSize(64<<10), // errors come in headers
		// Only while a call waits: servers take offence at more.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
	)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &link{client: processv1.NewProcessServiceClient(cc), grpc: cc, conn: conn}, nil
}

// close may be called again. Its errors say that it was.
func (l *link) close() {
	_ = l.grpc.Close()
	_ = l.conn.Close() // if gRPC never took it
}

// call makes a call on the connection. One that breaks, or on which nothing comes, is not used again.
func (t *Transport) call(ctx context.Context, op string, do func(context.Context, processv1.ProcessServiceClient) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.closed, func() { cancel(errClosed) })()
	l, err := t.use(ctx)
	if err == nil {
		err = do(ctx, l.client)
		t.done(l, broken(ctx, err))
	}
	switch {
	case err == nil:
		t.worked.Store(true)
		return nil
	case t.closed.Err() != nil:
		return t.final(op, sandbox.KindReleased, errClosed)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case late(ctx):
		return context.DeadlineExceeded
	}
	return err
}

// broken says whether the connection is to blame for an error.
func broken(ctx context.Context, err error) bool {
	return status.Code(err) == codes.Unavailable || err != nil && late(ctx)
}

// late says whether the deadline is over. A daemon keeps it too, and may reset the call before the timer of ctx has fired.
func late(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}

// use returns the connection, made if there is none. done must follow.
func (t *Transport) use(ctx context.Context) (*link, error) {
	select {
	case t.dialing <- struct{}{}:
		defer func() { <-t.dialing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if l := t.current(); l != nil {
		return l, nil
	}
	dial, stop := context.WithTimeout(ctx, shell.MaxRun) // others wait for it as well
	defer stop()
	conn, err := t.connector.Dial(dial, t.paths.shorten(t.target))
	if err != nil {
		return nil, noAnswer(err)
	}
	t.paths.learn(t.target, conn)
	l, err := newLink(conn, t.target.Pod)
	if err != nil {
		return nil, t.final("open", sandbox.KindInternal, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed.Err() != nil {
		l.close()
		return nil, errClosed
	}
	t.link, l.calls = l, 1
	return l, nil
}

func (t *Transport) current() *link {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.link != nil {
		t.link.calls++
	}
	return t.link
}

// done ends a use. A broken link is closed when the last call on it has ended: it may be no more than slow.
func (t *Transport) done(l *link, broken bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l.calls--
	if broken {
		l.retired = true
		if t.link == l {
			t.link = nil
		}
	}
	if l.retired && l.calls == 0 {
		l.close()
	}
}

// noAnswer takes the type off an error of the connector that says that there is no way now: there may be one soon.
func noAnswer(err error) error {
	if e, ok := errors.AsType[*sandbox.Error](err); ok && e.Kind == sandbox.KindUnavailable {
		return errors.New(err.Error())
	}
	return err
}

// explain is the error of a call, without an *Error in its chain where there was no answer.
func (t *Transport) explain(op string, err error) error {
	s, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	err = fmt.Errorf("sandboxd in pod %s: %s: %s", t.target.Pod, s.Code(), part.Cut(s.Message()))
	switch s.Code() {
	case codes.Unimplemented:
		return t.final(op, sandbox.KindUnsupported, fmt.Errorf(
			"port %d of the pod serves gRPC, but not sandboxd's process.v1.ProcessService (v0.5 or later); choose another runtime or port: %w", t.target.Port, err))
	case codes.NotFound:
		return t.final(op, sandbox.KindUnsupported, fmt.Errorf("the container of sandboxd has no program sh: take an image that has one: %w", err))
	case codes.Unauthenticated, codes.PermissionDenied:
		return t.final(op, sandbox.KindUnsupported, err)
	case codes.InvalidArgument:
		return t.final(op, sandbox.KindInternal, err)
	}
	if !t.worked.Load() {
		err = fmt.Errorf("%w (if no sandboxd serves gRPC on port %d of this pod, correct the recipe's `runtime` and `port`)", err, t.target.Port)
	}
	return err
}

func (t *Transport) final(op string, kind sandbox.Kind, err error) error {
	return &sandbox.Error{Op: op, ID: t.target.Pod, Kind: kind, Err: err}
}

var errClosed = errors.New("the sandbox was released")
