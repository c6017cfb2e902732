// Package podexec is the runtime `exec`: commands run through the API server's pods/exec, so that every image with a
// POSIX shell is a sandbox. One command is one request, over WebSocket, or SPDY where that is refused. What commands
// mean belongs in package shell.
package podexec

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/exec"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/runtime/part"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

// DefaultDials is how many connections to the API server are opened at a time where Options do not say.
const DefaultDials = 32

// Options of a Client.
type Options struct {
	Cluster *cluster.Cluster
	// Dials is the most connections that are in the making at a time; zero is DefaultDials. How many stay open is not
	// bounded here: a command that waits in its pod must not hold up those in other pods.
	Dials int
}

// Client is the way to pods/exec of one cluster, shared by the transports of all its sandboxes.
type Client struct {
	cluster    *cluster.Cluster
	config     *rest.Config
	base       *url.URL // up to the version of the API
	dials      chan struct{}
	still      time.Duration // how long an input may not move
	spdy       atomic.Bool   // WebSockets were refused, SPDY was not
	containers sync.Map      // see find: Target without Container -> name
}

// New makes a client. It makes no request.
func New(o Options) (*Client, error) {
	config := rest.CopyConfig(o.Cluster.Config)
	config.APIPath, config.GroupVersion = "/api", &corev1.SchemeGroupVersion
	base, path, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, &sandbox.Error{Op: "open", Kind: sandbox.KindUnsupported, Err: fmt.Errorf("the address of the API server: %w", err)}
	}
	if o.Dials == 0 {
		o.Dials = DefaultDials
	}
	return &Client{cluster: o.Cluster, config: config, base: base.JoinPath(path), dials: make(chan struct{}, o.Dials), still: 3 * shell.MaxRun / 2}, nil
}

// Target is the container that commands run in.
type Target struct {
	Namespace, Pod string
	// Container is empty for the one that the pod's annotation kubectl.kubernetes.io/default-container names, else the first.
	Container string
	// Pool, if not empty, names what has pods with the same containers (a warm pool, a template): which container it
	// is, is then looked up once for all of them.
	Pool string
}

// Transport runs commands in one container. Its methods may be called from many goroutines.
type Transport struct {
	client *Client
	target Target
	closed context.Context
	close  context.CancelFunc
}

var _ shell.Transport = (*Transport)(nil)

// Transport makes a transport. It makes no request.
func (c *Client) Transport(t Target) *Transport {
	closed, end := context.WithCancel(context.Background())
	return &Transport{client: c, target: t, closed: closed, close: end}
}

// Close ends the streams that are open. Their commands run on in the pod.
func (t *Transport) Close() error {
	t.close()
	return nil
}

// Run runs argv. It travels as a script on the input of a shell, not in the URL, which audit logs keep and proxies cut.
// The script is one compound command, so that half of it runs nothing, and it ends with a line of its own on stdout: a
// node that goes away in the middle looks to the API server like a command that succeeded.
func (t *Transport) Run(ctx context.Context, argv []string) (shell.Reply, error) {
	last := "\nsbxrun " + rand.Text() + " ended " // which nothing that runs can know
	script := "{ " + quote(argv) + "\nprintf '%s%d\\n' '" + last + "' \"$?\"\n} </dev/null\n"
	a, err := t.exec(ctx, "exec", []string{"sh"}, strings.NewReader(script))
	if stdout, exit, ok := cut(a.stdout, last); ok {
		return shell.Reply{Stdout: stdout, Stderr: a.stderr, Exit: exit}, nil
	}
	if err == nil {
		err = t.unfinished(a)
	}
	return shell.Reply{}, err
}

// Upload stores data in the container. It may take long, but not stand still: pings of SPDY that get no answer end nothing.
func (t *Transport) Upload(ctx context.Context, name string, data []byte) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	in := newSteady(data, t.client.still, cancel)
	defer in.timer.Stop()
	a, err := t.exec(ctx, "send", part.Command(name, len(data)), in)
	if err != nil {
		return "", err
	}
	return part.Path(a.exit, a.stdout, a.stderr)
}

// exec runs argv in the target's container.
func (t *Transport) exec(ctx context.Context, op string, argv []string, stdin io.ReadSeeker) (answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.closed, func() { cancel(errClosed) })()

	container := t.container()
	a, err := t.client.stream(ctx, t.request(container, argv), stdin)
	if a.refused != nil && apierrors.IsUnauthorized(a.refused) { // after which a credential plugin is asked again
		a, err = t.client.stream(ctx, t.request(container, argv), stdin)
	}
	if container == "" && unnamed(a.refused) {
		if container, err = t.find(ctx, op); err != nil {
			return answer{}, err
		}
		a, err = t.client.stream(ctx, t.request(container, argv), stdin)
	}
	var ended exec.CodeExitError
	switch {
	case err == nil:
		return a, nil
	case errors.As(err, &ended):
		a.exit = ended.Code
		return a, nil
	case errors.Is(err, errClosed):
		return a, t.final(op, sandbox.KindReleased, err)
	case a.refused != nil:
		return a, t.refused(op, a.refused)
	case ctx.Err() != nil, errors.Is(err, errTooMuch):
		return a, err
	}
	return a, t.broken(op, err)
}

// request is the URL that runs argv in the container.
func (t *Transport) request(container string, argv []string) *url.URL {
	query := url.Values{"command": argv, "stdin": {"true"}, "stdout": {"true"}, "stderr": {"true"}}
	if container != "" {
		query.Set("container", container)
	}
	u := t.client.base.JoinPath("namespaces", t.target.Namespace, "pods", t.target.Pod, "exec")
	u.RawQuery = query.Encode()
	return u
}

// quote writes argv as words of a POSIX shell.
func quote(argv []string) string {
	var b strings.Builder
	for i, a := range argv {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString("'" + strings.ReplaceAll(a, "'", `'\''`) + "'")
	}
	return b.String()
}

// cut parts what the command printed from the line that begins with last and says how it ended.
func cut(b []byte, last string) (stdout []byte, exit int, ok bool) {
	stdout, end, found := bytes.Cut(b, []byte(last))
	status, _, whole := bytes.Cut(end, []byte("\n"))
	exit, err := strconv.Atoi(string(status))
	return stdout, exit, found && whole && err == nil
}
