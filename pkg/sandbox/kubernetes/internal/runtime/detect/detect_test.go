package detect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"sigs.k8s.io/agent-sandbox/packages/sandboxd/pkg/server"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/runtime/sandboxd"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pod is a connector to one pod, whose ports are listeners of this machine.
type pod struct {
	connect.Connector
	routed bool
	ready  error
	ports  map[int]string
	routes atomic.Int32
	dials  atomic.Int32
	execs  atomic.Int32
	exec   error
}

func (p *pod) Ready(context.Context) error { return p.ready }

func (p *pod) Route(_ context.Context, t connect.Target) (connect.Route, error) {
	p.routes.Add(1)
	if p.ready != nil {
		return connect.Route{}, p.ready
	}
	address, ok := p.ports[t.Port]
	if !ok {
		address = "127.0.0.1:1"
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return connect.Route{URL: "http://" + address, Client: client, Header: http.Header{"X-Sandbox-Id": {t.Sandbox}}, Routed: p.routed}, nil
}

func (p *pod) Dial(ctx context.Context, t connect.Target) (net.Conn, error) {
	p.dials.Add(1)
	address, ok := p.ports[t.Port]
	if !ok {
		return nil, &sandbox.Error{Op: "connect", Kind: sandbox.KindUnavailable, Err: fmt.Errorf("port %d: connection refused", t.Port)}
	}
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// Run is pods/exec.
func (p *pod) Run(_ context.Context, argv []string) (shell.Reply, error) {
	p.execs.Add(1)
	return shell.Reply{}, p.exec
}

func (p *pod) Upload(context.Context, string, []byte) (string, error) {
	return "", errors.New("not asked for")
}

// web serves HTTP until the test ends.
func web(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func healthy(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Sandbox-ID") != "box" || r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write([]byte(`{"status":"ok","message":"Sandbox Runtime is active."}`))
}

// daemon is upstream's sandboxd.
func daemon(t *testing.T) string {
	s, err := server.New(server.Options{RootDir: t.TempDir(), Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	s.RegisterGRPC(g)
	go func() { _ = g.Serve(l) }()
	t.Cleanup(g.Stop)
	return l.Addr().String()
}

// silent accepts connections and says nothing, like an address behind a network policy.
func silent(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestDetect(t *testing.T) {
	for name, c := range map[string]struct {
		pod      func(t *testing.T) *pod
		port     int
		declared []int
		want     string
		exec     bool // was it asked
	}{
		"python":   {pod: func(t *testing.T) *pod { return &pod{ports: map[int]string{8888: web(t, healthy)}} }, want: "python on port 8888"},
		"sandboxd": {pod: func(t *testing.T) *pod { return &pod{ports: map[int]string{9090: daemon(t)}} }, want: "sandboxd on port 9090"},
		"neither":  {pod: func(*testing.T) *pod { return &pod{} }, want: "exec", exec: true},
		"python on another port": {pod: func(t *testing.T) *pod { return &pod{ports: map[int]string{80: web(t, healthy)}} },
			port: 80, want: "python on port 80"},
		"sandboxd on another port": {pod: func(t *testing.T) *pod { return &pod{ports: map[int]string{7070: daemon(t)}} },
			port: 7070, want: "sandboxd on port 7070"},
		"sandboxd, and nothing comes from python's port": {pod: func(t *testing.T) *pod {
			return &pod{ports: map[int]string{8888: silent(t), 9090: daemon(t)}}
		}, want: "sandboxd on port 9090"},
		"another server on python's port": {pod: func(t *testing.T) *pod {
			return &pod{ports: map[int]string{8888: web(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<h1>status: ok</h1>")) })}}
		}, want: "exec", exec: true},
		"nothing comes from any port": {pod: func(t *testing.T) *pod {
			return &pod{ports: map[int]string{8888: silent(t), 9090: silent(t)}}
		}, want: "exec", exec: true},
		"python that is starting": {pod: func(t *testing.T) *pod {
			var n atomic.Int32
			return &pod{ports: map[int]string{8888: web(t, func(w http.ResponseWriter, r *http.Request) {
				if n.Add(1) < 3 {
					http.Error(w, "connection refused", http.StatusBadGateway)
					return
				}
				healthy(w, r)
			})}}
		}, declared: []int{8888}, want: "python on port 8888"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := c.pod(t)
			o := Options{Connector: p, Target: connect.Target{Sandbox: "box", Pod: "box", Port: c.port}, Ports: c.declared, Paths: &sandboxd.Paths{}, Exec: p}
			got, err := Detect(t.Context(), o)
			if err != nil || got.String() != c.want || got.Reason == "" {
				t.Errorf("%v because %q, error %v; want %s", got, got.Reason, err, c.want)
			}
			if asked := p.execs.Load() > 0; asked != c.exec {
				t.Errorf("pods/exec was asked: %v", asked)
			}
		})
	}
}

// A way that does not work is an error, whatever else would: the user asked for that way.
func TestNoWay(t *testing.T) {
	page := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte("<html>welcome</html>"))
	}
	for name, c := range map[string]struct {
		pod  *pod
		want string
	}{
		"no router":       {&pod{ready: errors.New("no router")}, "no router"},
		"nobody answers":  {&pod{routed: true}, "refused"},
		"somebody else's": {&pod{routed: true, ports: map[int]string{8888: web(t, page)}}, "a web page"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.pod.ports == nil {
				c.pod.ports = map[int]string{}
			}
			c.pod.ports[9090] = daemon(t)
			o := Options{Connector: c.pod, Target: connect.Target{Sandbox: "box", Pod: "box"}, Paths: &sandboxd.Paths{}, Exec: c.pod}
			got, err := Detect(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "runtime: exec") {
				t.Errorf("%v, error %v; want %q in it", got, err, c.want)
			}
			if n := c.pod.execs.Load(); n > 0 {
				t.Errorf("pods/exec was asked %d times", n)
			}
		})
	}
}

// What is likely is asked alone where it answers at once.
func TestFirstGuess(t *testing.T) {
	p := &pod{ports: map[int]string{8888: web(t, healthy), 9090: daemon(t)}}
	o := Options{Connector: p, Target: connect.Target{Sandbox: "box", Pod: "box"}, Paths: &sandboxd.Paths{}, Exec: p}
	if got, err := Detect(t.Context(), o); err != nil || got.Runtime != Python || p.dials.Load() != 0 {
		t.Errorf("%v, error %v, %d connections to sandboxd", got, err, p.dials.Load())
	}
	o.Ports = []int{8080, 9090}
	before := p.routes.Load()
	if got, err := Detect(t.Context(), o); err != nil || got.Runtime != Sandboxd || p.routes.Load() != before {
		t.Errorf("%v, error %v, %d requests to python", got, err, p.routes.Load()-before)
	}
}

func TestNothingAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		exec error
		want sandbox.Kind
	}{
		"forbidden": {&sandbox.Error{Op: "exec", Kind: sandbox.KindUnsupported, Err: errors.New("may not create pods/exec")}, sandbox.KindUnsupported},
		"gone":      {&sandbox.Error{Op: "exec", Kind: sandbox.KindLost, Err: errors.New("may not create pods/exec")}, sandbox.KindLost},
	} {
		t.Run(name, func(t *testing.T) {
			p := &pod{exec: c.exec}
			_, err := Detect(t.Context(), Options{Connector: p, Target: connect.Target{Sandbox: "box", Pod: "box"}, Paths: &sandboxd.Paths{}, Exec: p})
			if err == nil || sandbox.KindOf(err) != c.want {
				t.Fatalf("error %v, want one of kind %v", err, c.want)
			}
			for _, part := range []string{"pod box", "python on port 8888", "sandboxd on port 9090", "port 9090: connection refused", "exec: ", "may not create pods/exec"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %v, want %q in it", err, part)
				}
			}
		})
	}
}

func TestCancel(t *testing.T) {
	p := &pod{ports: map[int]string{8888: silent(t), 9090: silent(t)}}
	because := errors.New("because")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(because) })
	_, err := Detect(ctx, Options{Connector: p, Target: connect.Target{Sandbox: "box", Pod: "box"}, Paths: &sandboxd.Paths{}, Exec: p})
	if !errors.Is(err, because) || p.execs.Load() != 0 {
		t.Errorf("error %v", err)
	}
}

// A runtime that the recipe names has the time to start, and nothing else is taken for it.
func TestOnly(t *testing.T) {
	var asked atomic.Int32
	late := web(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			http.Error(w, `{"detail":"Could not connect to the backend sandbox"}`, http.StatusBadGateway)
			return
		}
		fmt.Fprint(w, `{"status":"ok"}`)
	})
	for _, tt := range []struct{ name, only, want string }{
		{"it starts late", Python, "python on port 8888"},
		{"another one is there", Sandboxd, "the runtime does not answer in pod p; correct the sandbox's runtime and port; sandboxd on port"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &pod{routed: true, ports: map[int]string{8888: late}}
			found, err := Detect(t.Context(), Options{Connector: p, Target: connect.Target{Pod: "p"}, Paths: new(sandboxd.Paths), Exec: p, Only: tt.only, Patience: time.Second})
			if got := fmt.Sprint(found, err); !strings.Contains(got, tt.want) || p.execs.Load() > 0 {
				t.Errorf("%s; asked by exec %d times", got, p.execs.Load())
			}
		})
	}
}

// sandboxd is not reached by the router, whose way may not work, or not be allowed.
func TestSandboxdWithoutWay(t *testing.T) {
	p := &pod{ready: errors.New("may not list endpointslices"), ports: map[int]string{9090: daemon(t)}}
	o := Options{Connector: p, Target: connect.Target{Pod: "p"}, Paths: new(sandboxd.Paths), Exec: p, Patience: time.Second}
	o.Only = Sandboxd
	if found, err := Detect(t.Context(), o); err != nil || found.Runtime != Sandboxd {
		t.Errorf("%v, %v", found, err)
	}
	o.Only = Python
	if found, err := Detect(t.Context(), o); err == nil || !strings.Contains(err.Error(), "the way to sandboxes that the flags choose does not work") {
		t.Errorf("%v, %v", found, err)
	}
}

// A way that swallows requests is an error, and no reason to go by pods/exec, which the user did not ask for.
func TestSilentWay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := &pod{routed: true, ports: map[int]string{0: l.Addr().String(), 8888: l.Addr().String()}}
	_, err = Detect(t.Context(), Options{Connector: p, Target: connect.Target{Pod: "p"}, Paths: new(sandboxd.Paths), Exec: p, Patience: time.Second})
	if err == nil || !strings.Contains(err.Error(), "the way to sandboxes that the flags choose does not work: no answer within 1s") || p.execs.Load() > 0 {
		t.Errorf("%v; asked by exec %d times", err, p.execs.Load())
	}
}
