package connect_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	"k8s.io/klog/v2"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/portforward/forwardtest"
)

func TestMain(m *testing.M) {
	klog.SetLogger(logr.Discard())
	goleak.VerifyTestMain(m,
		// The library of the streams gives one that nobody answers half a minute, whatever became of its session, and the end
		// of a broken session a second.
		goleak.IgnoreTopFunction("github.com/moby/spdystream.(*Stream).WaitTimeout"),
		goleak.IgnoreTopFunction("github.com/moby/spdystream.(*Connection).shutdown"),
		// client-go keeps its connections for the next user of the same API server.
		goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("golang.org/x/net/http2.(*ClientConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*http2ClientConn).readLoop"))
}

// world is a cluster on this machine: an API server with what a test puts into it, and a router.
type world struct {
	*forwardtest.Server
	cluster *cluster.Cluster
	router  *httptest.Server

	mu       sync.Mutex
	objects  map[string]string // what GET of a path, without its query, answers; a Status where it says so
	watches  chan string       // events for the next watch, each a line of JSON; "end" ends it
	requests []http.Header     // that reached the router
	asked    []string          // of the API server
	alive    map[string]bool   // pods that still run
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Server: &forwardtest.Server{}, objects: map[string]string{}, watches: make(chan string, 16), alive: map[string]bool{"router-1": true}}
	w.router = httptest.NewServer(http.HandlerFunc(w.route))
	w.Dial = func(pod string, port int) (net.Conn, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if port != 8080 || !w.alive[pod] {
			return nil, fmt.Errorf("dial tcp4 127.0.0.1:%d: connect: connection refused", port)
		}
		return net.Dial("tcp", w.router.Listener.Addr().String())
	}
	w.Other = http.HandlerFunc(w.api)
	w.Start()
	t.Cleanup(func() {
		w.Server.Close()
		w.router.Close()
		w.cluster.Close()
	})
	config := filepath.Join(t.TempDir(), "kubeconfig")
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.Certificate().Raw}))
	write(t, config, fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c",
		"clusters": [{"name": "c", "cluster": {"server": %q, "certificate-authority-data": %q}}],
		"contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "users": [{"name": "u", "user": {"token": "t"}}]}`, w.URL, ca))
	var err error
	if w.cluster, err = cluster.Open(cluster.Options{Kubeconfig: config}); err != nil {
		t.Fatal(err)
	}
	w.endpoints("router-1")
	return w
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// route answers with the body of the request.
func (w *world) route(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.requests = append(w.requests, r.Header.Clone())
	w.mu.Unlock()
	_, _ = io.Copy(rw, r.Body)
}

func (w *world) last() http.Header {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.requests[len(w.requests)-1]
}

func (w *world) api(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.asked = append(w.asked, r.Method+" "+r.URL.RequestURI())
	body, ok := w.objects[r.URL.Path]
	w.mu.Unlock()
	rw.Header().Set("Content-Type", "application/json")
	if r.URL.Query().Get("watch") != "" {
		w.watch(rw, r)
		return
	}
	if !ok {
		body = status(404, "NotFound", "the server could not find the requested resource")
	}
	var s struct{ Code int }
	if json.Unmarshal([]byte(body), &s) == nil && s.Code != 0 {
		rw.WriteHeader(s.Code)
	}
	_, _ = io.WriteString(rw, body)
}

func (w *world) watch(rw http.ResponseWriter, r *http.Request) {
	flush := rw.(http.Flusher).Flush
	flush()
	for {
		select {
		case event := <-w.watches:
			if event == "end" {
				return
			}
			fmt.Fprintln(rw, event)
			flush()
			if strings.Contains(event, `"ERROR"`) {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

func (w *world) set(path, body string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.objects[path] = body
}

func status(code int, reason, message string) string {
	return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d,"message":%q}`, reason, code, message)
}

const routerSlices = "/apis/discovery.k8s.io/v1/namespaces/agent-sandbox-system/endpointslices"

// endpoints says which of the router's pods are ready; those with a minus are not.
func (w *world) endpoints(pods ...string) {
	var list []string
	for _, p := range pods {
		name, down := strings.CutPrefix(p, "-")
		list = append(list, fmt.Sprintf(`{"addresses":["10.0.0.1"],"conditions":{"ready":%t},"targetRef":{"kind":"Pod","name":%q}}`, !down, name))
	}
	w.set(routerSlices, `{"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1","items":[{"metadata":{"name":"s"},"addressType":"IPv4",
		"ports":[{"name":"metrics","port":9090,"protocol":"TCP"},{"port":8080,"protocol":"TCP"}],"endpoints":[`+strings.Join(list, ",")+`]}]}`)
}

func (w *world) kill(pod string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.alive, pod)
}

func (w *world) start(pod string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alive[pod] = true
}

func (w *world) open(t *testing.T, o connect.Options) connect.Connector {
	t.Helper()
	c, err := connect.Open(t.Context(), w.cluster, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

var target = connect.Target{Sandbox: "sb", Namespace: "ns", Pod: "pod-1", Port: 8888, PodIPs: []string{"fd00::7", "10.1.2.3"}}

// post sends a request along the route and returns what came back.
func post(t *testing.T, c connect.Connector, body string) (string, error) {
	t.Helper()
	r, err := c.Route(t.Context(), target)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL+"/execute", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = r.Header.Clone()
	resp, err := r.Client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// echoes fails the test unless a request goes there and back.
func echoes(t *testing.T, c connect.Connector) {
	t.Helper()
	if got, err := post(t, c, "ping"); err != nil || got != "ping" {
		t.Errorf("answer %q, error %v", got, err)
	}
}

// fails checks the kind of an error and that it says each of the words.
func fails(t *testing.T, err error, kind sandbox.Kind, words ...string) {
	t.Helper()
	if err == nil || sandbox.KindOf(err) != kind {
		t.Errorf("error %v of kind %v, want %v", err, sandbox.KindOf(err), kind)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 1000 {
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("never: %s", what)
}
