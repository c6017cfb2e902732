package podexec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

// answer is what came of one request.
type answer struct {
	stdout, stderr []byte
	exit           int
	// upgraded is true where the API server opened the streams. refused is what it answered instead: then nothing ran.
	upgraded bool
	refused  *apierrors.StatusError
}

// stream makes a request with the protocol that works.
func (c *Client) stream(ctx context.Context, u *url.URL, stdin io.ReadSeeker) (answer, error) {
	if !c.spdy.Load() {
		a, err := c.attempt(ctx, u, stdin, webSocket)
		if !fallBack(a, err) {
			return a, err
		}
		if _, err := stdin.Seek(0, io.SeekStart); err != nil {
			return answer{}, err
		}
	}
	a, err := c.attempt(ctx, u, stdin, spdy)
	if a.upgraded {
		c.spdy.Store(true)
	}
	return a, err
}

// fallBack says whether SPDY may do what WebSocket did not: where something on the way does not know that protocol, or
// the role grants "create" alone (a WebSocket is a GET). Answers that the protocol has no part in are final.
func fallBack(a answer, err error) bool {
	if a.refused != nil {
		return apierrors.IsForbidden(a.refused)
	}
	return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
}

type protocol func(*rest.Config, *url.URL) (remotecommand.Executor, error)

func webSocket(config *rest.Config, u *url.URL) (remotecommand.Executor, error) {
	return remotecommand.NewWebSocketExecutor(config, http.MethodGet, u.String())
}

func spdy(config *rest.Config, u *url.URL) (remotecommand.Executor, error) {
	return remotecommand.NewSPDYExecutor(config, http.MethodPost, u)
}

// attempt makes one request with one protocol. The error is the executor's, or ctx's cause.
func (c *Client) attempt(ctx context.Context, u *url.URL, stdin io.Reader, with protocol) (answer, error) {
	select {
	case c.dials <- struct{}{}:
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	}
	d := &dial{done: sync.OnceFunc(func() { <-c.dials })}
	defer d.done()
	config := rest.CopyConfig(c.config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { d.next = next; return d })
	executor, err := with(config, u)
	if err != nil {
		return answer{}, err
	}
	// The executors log what they return as an error, and what is normal at a cancellation.
	ctx, stop := context.WithCancelCause(klog.NewContext(ctx, logr.Discard()))
	defer stop(nil)
	stdout, stderr := &bounded{stop: stop}, &bounded{stop: stop}
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: stdin, Stdout: stdout, Stderr: stderr})
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return answer{stdout: stdout.take(), stderr: stderr.take(), upgraded: d.upgraded, refused: d.refused}, err
}

// dial sees the one request of an executor: when it is answered, and what was answered in place of an upgrade, which the
// executor for SPDY keeps only as text.
type dial struct {
	next     http.RoundTripper
	done     func()
	upgraded bool
	refused  *apierrors.StatusError
}

func (d *dial) RoundTrip(r *http.Request) (*http.Response, error) {
	defer d.done()
	resp, err := d.next.RoundTrip(r)
	if failure, ok := errors.AsType[*httpstream.UpgradeFailureError](err); ok {
		d.refused, _ = errors.AsType[*apierrors.StatusError](failure.Cause)
	}
	if err != nil {
		return nil, err
	}
	if d.upgraded = resp.StatusCode == http.StatusSwitchingProtocols; d.upgraded {
		return resp, nil
	}
	d.refused = statusOf(r, resp)
	return nil, errors.Join(d.refused, resp.Body.Close())
}

// mostOutput bounds each stream of a command, the line that ends it included.
const mostOutput = shell.MaxReply + 1<<10

var errTooMuch = fmt.Errorf("the command printed more than %d MiB", shell.MaxReply>>20)

// bounded keeps what is written until it is taken. More than mostOutput ends the request.
type bounded struct {
	stop context.CancelCauseFunc

	mu    sync.Mutex
	buf   bytes.Buffer
	taken bool
}

func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.taken: // an executor may still copy after it has returned
		return len(p), nil
	case b.buf.Len()+len(p) > mostOutput:
		b.stop(errTooMuch)
		return 0, errTooMuch
	}
	return b.buf.Write(p)
}

func (b *bounded) take() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken = true
	return b.buf.Bytes()
}
