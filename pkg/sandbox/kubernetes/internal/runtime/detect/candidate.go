package detect

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/runtime/part"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/runtime/python"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/runtime/sandboxd"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

// candidate is one runtime that may be there.
type candidate struct {
	Found
	within time.Duration // for all of its answers
	again  bool          // it is sure to be there, and may only not have started yet
	probe  func(context.Context) (reason string, err error)
}

// answer is what came of asking.
type answer struct {
	Found
	err error
}

func (c candidate) answer(ctx context.Context) answer {
	ctx, cancel := context.WithTimeoutCause(ctx, c.within, fmt.Errorf("no answer within %v", c.within))
	defer cancel()
	var last error
	for {
		reason, err := c.probe(ctx)
		switch {
		case err == nil:
			c.Reason = reason
			return answer{c.Found, nil}
		case ctx.Err() != nil && last != nil:
			return answer{c.Found, fmt.Errorf("%w, but: %w", context.Cause(ctx), last)}
		case ctx.Err() != nil:
			return answer{c.Found, context.Cause(ctx)}
		case !c.again || final(err):
			return answer{c.Found, err}
		}
		last = err
		select {
		case <-ctx.Done():
		case <-time.After(patience):
		}
	}
}

func final(err error) bool {
	e, ok := errors.AsType[*sandbox.Error](err)
	return ok && e.Kind != sandbox.KindUnavailable
}

// servers are the runtimes that listen on a port, the likeliest first.
func (o Options) servers() []candidate {
	web, daemon := o.Target, o.Target
	web.Port = cmp.Or(o.Target.Port, python.Port)
	daemon.Port = cmp.Or(o.Target.Port, sandboxd.DefaultPort)
	list := []candidate{
		o.server(Python, web.Port, func(ctx context.Context) (string, error) { return health(ctx, o.Connector, web) }),
		o.server(Sandboxd, daemon.Port, func(ctx context.Context) (reason string, err error) {
			t := sandboxd.New(o.Connector, daemon, o.Paths)
			defer func() { err = errors.Join(err, t.Close()) }()
			return run(ctx, t)
		}),
	}
	if o.Only != "" {
		list = slices.DeleteFunc(list, func(c candidate) bool { return c.Runtime != o.Only })
		list[0].within, list[0].again = 3*o.patience(), true
		return list
	}
	if list[1].again && !list[0].again {
		slices.Reverse(list)
	}
	return list
}

// stands shows that whoever is asked first on the way to sandboxes answers, if only that it does not know which one is meant:
// a way that swallows requests is no sign that a sandbox has no server.
func (o Options) stands(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, o.patience(), fmt.Errorf("no answer within %v", o.patience()))
	defer cancel()
	route, err := o.Connector.Route(ctx, o.Target)
	if err != nil || !route.Routed {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, route.URL+"/", nil)
	if err != nil {
		return err
	}
	resp, err := route.Client.Do(req)
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	return resp.Body.Close()
}

func (o Options) server(runtime string, port int, probe func(context.Context) (string, error)) candidate {
	c := candidate{Found: Found{Runtime: runtime, Port: port}, within: limit, probe: probe}
	if slices.Contains(o.Ports, port) {
		c.within, c.again = settle, true
	}
	return c
}

// exec is what needs no server.
func (o Options) exec() candidate {
	return candidate{Found: Found{Runtime: Exec}, within: o.patience(), again: true, probe: func(ctx context.Context) (string, error) {
		return run(ctx, o.Exec)
	}}
}

// run shows that commands run.
func run(ctx context.Context, t shell.Transport) (string, error) {
	r, err := t.Run(ctx, []string{"true"})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("`true` ended with status %d", r.Exit), nil
}

// health asks the Python runtime how it is: GET / of examples/python-runtime-sandbox/main.py in sigs.k8s.io/agent-sandbox. Where a router is
// on the way and nobody answers, or a web page does, the error is a *wayError.
func health(ctx context.Context, c connect.Connector, t connect.Target) (string, error) {
	route, err := c.Route(ctx, t)
	if err != nil {
		return "", &wayError{err}
	}
	way := func(err error) error {
		if route.Routed && ctx.Err() == nil {
			return &wayError{err}
		}
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, route.URL+"/", nil)
	if err != nil {
		return "", err
	}
	req.Header = route.Header.Clone()
	resp, err := route.Client.Do(req)
	if err != nil {
		return "", way(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return "", way(err)
	}
	answers := fmt.Sprintf("GET %s/ answers %d %s", route.URL, resp.StatusCode, part.Cut(string(body)))
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		return "", way(errors.New(answers + ", a web page: this is no sandbox router"))
	}
	var is struct{ Status string }
	if resp.StatusCode != http.StatusOK || json.Unmarshal(body, &is) != nil || is.Status != "ok" {
		return "", errors.New(answers)
	}
	return "GET / answers that its status is ok", nil
}
