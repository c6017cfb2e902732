package podexec

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
	spdyserver "k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// server is the API server's half of pods/exec: it runs commands on this machine.
type server struct {
	t    *testing.T
	http *httptest.Server
	tmp  string // TMPDIR of the commands
	pod  *corev1.Pod

	// What goes wrong.
	refuse    func(r *http.Request, websocket bool) *metav1.Status // in place of an upgrade
	plain     bool                                                 // WebSockets get a proxy's answer
	text      string                                               // in place of running anything, the node says this
	loseAfter int                                                  // bytes of stdin: the node goes away, which ends like a success
	hang      bool                                                 // commands have no end
	deaf      chan struct{}                                        // until it closes, commands read no stdin

	running atomic.Int32
	dialing atomic.Int32
	slow    time.Duration // of an upgrade

	mu   sync.Mutex
	most int32 // of dialing
	seen []seen
}

type seen struct {
	method, path string
	query        url.Values
}

func serve(t *testing.T) *server {
	s := &server{t: t, tmp: t.TempDir(), pod: &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		Spec:     corev1.PodSpec{Containers: []corev1.Container{{Name: "one"}}},
	}}
	s.http = httptest.NewServer(s)
	t.Cleanup(s.http.Close)
	return s
}

func (s *server) client(o Options) *Client {
	kubeconfig := filepath.Join(s.t.TempDir(), "config")
	err := os.WriteFile(kubeconfig, fmt.Appendf(nil, "{clusters: [{name: c, cluster: {server: %q}}], contexts: [{name: c, context: {cluster: c}}], current-context: c}", s.http.URL), 0o600)
	if err == nil {
		o.Cluster, err = cluster.Open(cluster.Options{Kubeconfig: kubeconfig})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(o.Cluster.Close)
	c, err := New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *server) transport(target Target) *Transport {
	target.Namespace, target.Pod = "ns", "box"
	t := s.client(Options{}).Transport(target)
	s.t.Cleanup(func() { _ = t.Close() })
	return t
}

func (s *server) requests() []seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]seen(nil), s.seen...)
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.seen = append(s.seen, seen{r.Method, r.URL.Path, r.URL.Query()})
	s.mu.Unlock()
	ws := websocket.IsWebSocketUpgrade(r)
	switch {
	case s.refuse != nil && s.refuse(r, ws) != nil:
		deny(w, s.refuse(r, ws))
	case r.URL.Path == "/api/v1/namespaces/ns/pods/box":
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.pod)
	case r.URL.Path != "/api/v1/namespaces/ns/pods/box/exec":
		http.NotFound(w, r)
	case len(s.pod.Spec.Containers) > 1 && r.URL.Query().Get("container") == "":
		deny(w, &metav1.Status{Code: 400, Reason: metav1.StatusReasonBadRequest,
			Message: "a container name must be specified for pod box, choose one of: [one two]"})
	case ws && s.plain:
		http.Error(w, "this proxy knows no WebSocket", http.StatusBadGateway)
	default:
		n := s.dialing.Add(1)
		s.mu.Lock()
		s.most = max(s.most, n)
		s.mu.Unlock()
		time.Sleep(s.slow)
		s.dialing.Add(-1)
		if ws {
			s.webSocket(w, r)
		} else {
			s.spdy(w, r)
		}
	}
}

func deny(w http.ResponseWriter, st *metav1.Status) {
	st.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	st.Status = metav1.StatusFailure
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(st.Code))
	_ = json.NewEncoder(w).Encode(st)
}

// webSocket speaks v5.channel.k8s.io: the first byte of a message is its channel, 255 closes the one that follows.
func (s *server) webSocket(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{Subprotocols: []string{remotecommand.StreamProtocolV5Name}}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	stdin, input := io.Pipe()
	defer stdin.Close()
	gone, reading := make(chan struct{}), make(chan struct{})
	conn.SetPongHandler(func(string) error { close(reading); return nil })
	go func() {
		defer close(gone)
		for {
			_, b, err := conn.ReadMessage()
			if err != nil {
				_ = input.CloseWithError(err)
				return
			}
			switch {
			case len(b) == 2 && b[0] == remotecommand.StreamClose:
				_ = input.Close()
			case b[0] == remotecommand.StreamStdIn:
				_, _ = input.Write(b[1:])
			}
		}
	}()
	if s.hang {
		// client-go (v0.37) leaves goroutines behind where a request is cancelled before its reader has begun. One that
		// answers a ping has.
		go func() { _, _ = io.Copy(io.Discard, stdin) }()
		_ = conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Minute))
		select {
		case <-reading:
		case <-gone:
		}
	}
	var mu sync.Mutex
	channel := func(id byte) io.Writer {
		return writer(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return len(p), conn.WriteMessage(websocket.BinaryMessage, append([]byte{id}, p...))
		})
	}
	st := s.run(r, stdin, channel(remotecommand.StreamStdOut), channel(remotecommand.StreamStdErr), gone)
	b, _ := json.Marshal(st)
	_, _ = channel(remotecommand.StreamErr).Write(b)
	mu.Lock()
	defer mu.Unlock()
	_ = conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// spdy speaks v4.channel.k8s.io: a stream each, made by the client.
func (s *server) spdy(w http.ResponseWriter, r *http.Request) {
	if _, err := httpstream.Handshake(r, w, []string{remotecommand.StreamProtocolV4Name}); err != nil {
		return
	}
	streams := make(chan httpstream.Stream, 4)
	conn := spdyserver.NewResponseUpgrader().UpgradeResponse(w, r, func(st httpstream.Stream, _ <-chan struct{}) error {
		streams <- st
		return nil
	})
	if conn == nil {
		return
	}
	defer conn.Close()
	byType := map[string]httpstream.Stream{}
	for range 4 {
		st := <-streams
		byType[st.Headers().Get(corev1.StreamType)] = st
	}
	gone := make(chan struct{})
	go func() { <-conn.CloseChan(); close(gone) }()
	st := s.run(r, byType["stdin"], byType["stdout"], byType["stderr"], gone)
	b, _ := json.Marshal(st)
	_, _ = byType["error"].Write(b)
	for _, st := range byType {
		_ = st.Close()
	}
	<-gone // the client closes
}

// run is the node.
func (s *server) run(r *http.Request, stdin io.Reader, stdout, stderr io.Writer, gone <-chan struct{}) metav1.Status {
	s.running.Add(1)
	defer s.running.Add(-1)
	switch {
	case s.text != "":
		return metav1.Status{Status: metav1.StatusFailure, Code: 500, Message: s.text}
	case s.deaf != nil:
		<-s.deaf
		return metav1.Status{}
	case s.hang:
		_, _ = io.Copy(io.Discard, stdin)
		<-gone
		return metav1.Status{}
	case s.loseAfter > 0:
		_, _ = io.CopyN(io.Discard, stdin, int64(s.loseAfter))
		return metav1.Status{Status: metav1.StatusSuccess}
	}
	argv := r.URL.Query()["command"]
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "TMPDIR="+s.tmp)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code := exit.ExitCode()
		if code < 0 {
			code = 137
		}
		return metav1.Status{Status: metav1.StatusFailure, Reason: remotecommand.NonZeroExitCodeReason, Details: &metav1.StatusDetails{
			Causes: []metav1.StatusCause{{Type: remotecommand.ExitCodeCauseType, Message: strconv.Itoa(code)}},
		}}
	}
	if err != nil && !strings.Contains(err.Error(), "broken pipe") && !errors.Is(err, io.ErrClosedPipe) {
		return metav1.Status{Status: metav1.StatusFailure, Message: err.Error()}
	}
	return metav1.Status{Status: metav1.StatusSuccess}
}
