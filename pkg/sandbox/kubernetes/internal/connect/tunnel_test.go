package connect_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
)

func TestTunnelHeaders(t *testing.T) {
	w := newWorld(t)
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, "secret\n")
	c := w.open(t, connect.Options{TokenFile: token})
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
	}))
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r, err := c.Route(ctx, target)
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	req.Header = r.Header.Clone()
	resp, err := r.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	got := w.last()
	for name, want := range map[string]string{
		"X-Sandbox-Id": "sb", "X-Sandbox-Namespace": "ns", "X-Sandbox-Port": "8888", "X-Sandbox-Pod-Ip": "10.1.2.3",
		"Authorization": "Bearer secret", "Traceparent": "00-01000000000000000000000000000000-0200000000000000-01",
	} {
		if got.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.Get(name), want)
		}
	}
	if s, err := strconv.ParseFloat(got.Get("X-Sandbox-Timeout"), 64); err != nil || s <= 0 || s > 60 {
		t.Errorf("X-Sandbox-Timeout: %q", got.Get("X-Sandbox-Timeout"))
	}
	if got.Get("X-Request-Id") == "" {
		t.Error("no request id")
	}
	if req.Header.Get("Authorization") != "" {
		t.Error("the caller's request has the token in it")
	}
}

func TestTunnelSharesTwoSessions(t *testing.T) {
	w := newWorld(t)
	w.start("router-2")
	w.endpoints("router-1", "-router-3", "router-2")
	c := w.open(t, connect.Options{})
	var tasks sync.WaitGroup
	for range 4 {
		for range 100 {
			tasks.Go(func() { echoes(t, c) })
		}
		tasks.Wait()
	}
	used := w.Sessions()
	if len(used) == 0 || len(used) > 2 {
		t.Errorf("sessions to %q", used)
	}
	if len(used) == 2 && used[0] == used[1] {
		t.Errorf("both sessions to one of two pods: %q", used)
	}
}

func TestTunnelIsMadeAgain(t *testing.T) {
	w := newWorld(t)
	c := w.open(t, connect.Options{})
	for range 3 {
		echoes(t, c)
		w.Cut()
		// A request may meet the end of the old one; it is not final.
		eventually(t, "a request after the cut", func() bool {
			got, err := post(t, c, "x")
			if err != nil && sandbox.KindOf(err) != sandbox.KindInternal {
				t.Errorf("the loss of a session is final: %v", err)
			}
			return err == nil && got == "x"
		})
	}
}

func TestTunnelFollowsTheRouter(t *testing.T) {
	w := newWorld(t)
	c := w.open(t, connect.Options{})
	echoes(t, c)
	w.kill("router-1") // its session stays open, and all streams of it fail
	w.router.CloseClientConnections()
	w.start("router-2")
	w.endpoints("-router-1", "router-2")
	eventually(t, "the new pod is used", func() bool {
		got, err := post(t, c, "x")
		return err == nil && got == "x"
	})
	if used := w.Sessions(); used[len(used)-1] != "router-2" {
		t.Errorf("sessions to %q", used)
	}
}

func TestTunnelWaitsForTheRouter(t *testing.T) {
	w := newWorld(t)
	w.endpoints("-router-1")
	c := w.open(t, connect.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	fails(t, c.Ready(ctx), sandbox.KindUnavailable, "not ready", "deadline", "no pod of the service agent-sandbox-system/sandbox-router-svc")
	ready := make(chan error)
	go func() { ready <- c.Ready(t.Context()) }()
	w.endpoints("router-1")
	if err := <-ready; err != nil {
		t.Error(err)
	}
	echoes(t, c)
}

func TestTunnelThatIsStuckIsLeft(t *testing.T) {
	w := newWorld(t)
	w.Stall = true // every stream hangs, as with a kubelet that waits for a pod
	c := w.open(t, connect.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
	defer cancel()
	r, err := c.Route(ctx, target)
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if resp, err := r.Client.Do(req); err == nil {
		resp.Body.Close()
		t.Error("no error")
	}
	if n := len(w.Sessions()); n < 2 {
		t.Errorf("%d sessions were tried", n)
	}
}

func TestARouterThatClosesInTheMiddleOfARequest(t *testing.T) {
	w := newWorld(t)
	w.Unread = true
	w.router.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.ContentLength < 1<<20 {
			w.route(rw, r)
			return
		}
		conn, _, err := rw.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		conn.Close()
	})
	c := w.open(t, connect.Options{})
	large := strings.Repeat("x", 32<<20)
	for range 3 {
		echoes(t, c)
		_, _ = post(t, c, large) // 413, or the end of the connection
		for range 10 {
			// The end of the old stream may be met once; nothing waits behind what is unread.
			if got, err := post(t, c, "ping"); err == nil && got != "ping" {
				t.Errorf("%q", got)
			}
		}
		echoes(t, c)
	}
}

func TestTunnelRefusals(t *testing.T) {
	forbidden := func(resource, group, verb string) string {
		return status(403, "Forbidden", fmt.Sprintf(`%s is forbidden: User "u" cannot %s resource %q in API group %q in the namespace "agent-sandbox-system"`, resource, verb, resource, group))
	}
	for name, c := range map[string]struct {
		arrange func(w *world)
		kind    sandbox.Kind
		says    []string
	}{
		"no router": {
			func(w *world) {
				w.set(routerSlices, `{"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1","items":[]}`)
			},
			sandbox.KindUnsupported, []string{"sandbox-router-svc", "agent-sandbox-system", "--router-namespace"},
		},
		"endpointslices": {
			func(w *world) { w.set(routerSlices, forbidden("endpointslices", "discovery.k8s.io", "list")) },
			sandbox.KindUnsupported, []string{"endpointslices", "list", "agent-sandbox-system"},
		},
		"portforward": {
			func(w *world) {
				w.Refuse = func(rw http.ResponseWriter, _ *http.Request) bool {
					rw.WriteHeader(http.StatusForbidden)
					fmt.Fprint(rw, forbidden("pods/portforward", "", "create"))
					return true
				}
			},
			sandbox.KindUnsupported, []string{"pods/portforward", "create", "agent-sandbox-system"},
		},
		"expired": {
			func(w *world) { w.set(routerSlices, status(401, "Unauthorized", "Unauthorized")) },
			sandbox.KindUnsupported, []string{"401"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.arrange(w)
			con := w.open(t, connect.Options{})
			fails(t, con.Ready(t.Context()), c.kind, c.says...)
			_, err := con.Route(t.Context(), target)
			fails(t, err, c.kind, c.says...)
		})
	}
}

func TestClosedConnector(t *testing.T) {
	w := newWorld(t)
	c := w.open(t, connect.Options{})
	echoes(t, c)
	r, err := c.Route(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = c.Route(t.Context(), target)
	fails(t, err, sandbox.KindReleased)
	resp, err := r.Client.Get(r.URL)
	if err == nil {
		resp.Body.Close()
	}
	fails(t, err, sandbox.KindReleased)
	_, err = c.Dial(t.Context(), target)
	fails(t, err, sandbox.KindReleased)
}

func TestOpenRefuses(t *testing.T) {
	w := newWorld(t)
	empty := filepath.Join(t.TempDir(), "empty")
	write(t, empty, "")
	noPEM := filepath.Join(t.TempDir(), "no.pem")
	write(t, noPEM, "hello")
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, "t")
	for name, c := range map[string]struct {
		options connect.Options
		says    string
	}{
		"mode":              {connect.Options{Mode: "magic"}, `"magic"`},
		"gateway name":      {connect.Options{Mode: connect.Gateway}, "--gateway-name"},
		"gateway namespace": {connect.Options{Mode: connect.Gateway, GatewayName: "g", GatewayNamespace: "a/b"}, "--gateway-namespace"},
		"router namespace":  {connect.Options{RouterNamespace: "../x"}, "--router-namespace"},
		"cluster domain":    {connect.Options{Mode: connect.InCluster, ClusterDomain: "a b"}, "--cluster-domain"},
		"no url":            {connect.Options{Mode: connect.Direct}, "--api-url"},
		"no host":           {connect.Options{Mode: connect.Direct, APIURL: "router:8080"}, "--api-url"},
		"other scheme":      {connect.Options{Mode: connect.Direct, APIURL: "ftp://h"}, "--api-url"},
		"bad url":           {connect.Options{Mode: connect.Direct, APIURL: "http://[::1"}, "--api-url"},
		"password":          {connect.Options{Mode: connect.Direct, APIURL: "https://u:secretpw@h"}, "--token-file"},
		"query":             {connect.Options{Mode: connect.Direct, APIURL: "https://h?a=b"}, "query"},
		"plain token":       {connect.Options{Mode: connect.Direct, APIURL: "http://sandboxes.example.com", TokenFile: token}, "without TLS"},
		"no ca":             {connect.Options{CAFile: empty + "x"}, "--ca-file"},
		"empty ca":          {connect.Options{CAFile: empty}, "empty"},
		"no pem":            {connect.Options{CAFile: noPEM}, "PEM"},
		"no token":          {connect.Options{TokenFile: empty + "x"}, "--token-file"},
		"empty token":       {connect.Options{TokenFile: empty}, "empty"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := connect.Open(t.Context(), w.cluster, c.options)
			fails(t, err, sandbox.KindInvalid, c.says)
		})
	}
}
