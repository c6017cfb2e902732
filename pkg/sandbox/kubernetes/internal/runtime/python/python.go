// Package python is the runtime `python`: Agent Sandbox's HTTP server for commands and files in /app
// (examples/python-runtime-sandbox/main.py of sigs.k8s.io/agent-sandbox). It runs one short command a request and tells an
// answer of the runtime from one of whoever else is on the way. What commands mean belongs in package shell, the way to the
// server in connect.
//
// The server splits a command as Python's shlex does and starts it without a shell in /app. It answers 200 for whatever
// happened: its own failures are exit status 1 with "Failed to execute command: " on stderr.
package python

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

// Port is where the runtime listens unless its template says otherwise.
const Port = 8888

// maxAnswer bounds an answer in bytes. The protocol's own are under 6 MiB; code in the sandbox may have taken the
// server's place and send more.
const maxAnswer = 16 << 20

// Transport runs commands in one sandbox. Its methods may be called from many goroutines.
type Transport struct {
	connector connect.Connector
	target    connect.Target
	worked    atomic.Bool // the runtime has answered
	files     atomic.Int32
	limit     time.Duration // of a request: shell.MaxRun
}

var _ shell.Transport = (*Transport)(nil)

// New makes a transport; a target's port of zero is Port. It makes no request.
func New(c connect.Connector, t connect.Target) *Transport {
	t.Port = cmp.Or(t.Port, Port)
	return &Transport{connector: c, target: t, limit: shell.MaxRun}
}

// Close is there for transports that hold something; this one's connections are the connector's.
func (t *Transport) Close() error { return nil }

// Run runs argv and returns what it printed. It is sent once: whether a command whose answer was lost may run again is for the
// caller to know.
func (t *Transport) Run(ctx context.Context, argv []string) (shell.Reply, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, t.limit, fmt.Errorf("no answer within %v", t.limit))
	defer cancel()
	command, err := quote(argv)
	if err != nil {
		return shell.Reply{}, t.failure("exec", sandbox.KindInternal, err)
	}
	body, err := json.Marshal(map[string]string{"command": command})
	if err != nil {
		return shell.Reply{}, t.failure("exec", sandbox.KindInternal, err)
	}
	a, err := t.post(ctx, "/execute", body)
	if err != nil {
		return shell.Reply{}, t.unanswered(ctx, "exec", err)
	}
	if err := t.check("exec", a); err != nil {
		return shell.Reply{}, err
	}
	var r struct {
		Stdout, Stderr string
		Exit           *int `json:"exit_code"`
	}
	if err := json.Unmarshal(a.body, &r); err != nil || r.Exit == nil {
		return shell.Reply{}, t.stranger("exec", a)
	}
	t.worked.Store(true)
	if *r.Exit == 1 && r.Stdout == "" {
		if err := t.refused(r.Stderr, argv); err != nil {
			return shell.Reply{}, err
		}
	}
	exit := *r.Exit
	if exit < 0 {
		exit = 128 - exit // Python's way to say by which signal
	}
	return shell.Reply{Stdout: []byte(r.Stdout), Stderr: []byte(r.Stderr), Exit: exit}, nil
}

// answer is a response that was read to its end.
type answer struct {
	url, kind string // where from; its Content-Type
	status    int
	body      []byte
}

// post sends a request once.
func (t *Transport) post(ctx context.Context, path string, body []byte) (answer, error) {
	route, err := t.connector.Route(ctx, t.target)
	if err != nil {
		return answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, route.URL+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header = route.Header.Clone()
	req.Header.Set("Content-Type", "application/json")
	resp, err := route.Client.Do(req)
	if err != nil {
		return answer{}, err
	}
	return read(resp)
}

var errTooLong = fmt.Errorf("the answer is longer than %d MiB", maxAnswer>>20)

func read(resp *http.Response) (answer, error) {
	defer resp.Body.Close()
	a := answer{url: resp.Request.URL.Redacted(), kind: resp.Header.Get("Content-Type"), status: resp.StatusCode}
	var err error
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(a.body) > maxAnswer {
		err = errTooLong
	}
	return a, err
}

// unanswered says what an error of the way means: a way that cannot work is final, and so is what only code in the sandbox
// can have done; everything else is no answer.
func (t *Transport) unanswered(ctx context.Context, op string, err error) error {
	typed, ok := errors.AsType[*sandbox.Error](err)
	switch {
	case ok && typed.Kind == sandbox.KindUnavailable: // the way may come back
		return fmt.Errorf("the python runtime of %s: %s", t.target.Sandbox, err.Error())
	case ok:
		return t.failure(op, typed.Kind, err)
	}
	if redirect, ok := errors.AsType[*connect.RedirectError](err); ok {
		return t.wrong(op, fmt.Errorf("%w; give the URL that it leads to, with --connection direct --api-url", redirect))
	}
	if errors.Is(err, errTooLong) {
		return t.wrong(op, err)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("the python runtime of %s: %w", t.target.Sandbox, context.Cause(ctx))
	}
	return fmt.Errorf("the python runtime of %s: %w", t.target.Sandbox, err)
}

func (t *Transport) failure(op string, kind sandbox.Kind, err error) error {
	return &sandbox.Error{Op: op, ID: t.target.Sandbox, Kind: kind, Err: err}
}

// wrong is the error of an answer that is not the runtime's. Before the first that was, something is set up wrongly; after
// it, the sandbox is not what it was: code in it can end the runtime and take its place.
func (t *Transport) wrong(op string, err error) error {
	if t.worked.Load() {
		return t.failure(op, sandbox.KindLost, err)
	}
	return t.failure(op, sandbox.KindUnsupported, err)
}

// pause is the wait before what may be sent again is sent again.
func pause(ctx context.Context, try int) error {
	select {
	case <-time.After(min(200*time.Millisecond<<try, 3*time.Second)):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
