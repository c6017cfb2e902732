// Package forwardtest is an API server for tests that knows pods/portforward. It is built of the server halves of the
// libraries that the real one and the kubelet use, so that a test can cut, refuse and hold up what a cluster does not on
// request. Everything else that an API server does belongs in the tests that need it.
package forwardtest

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	protocol "k8s.io/apimachinery/pkg/util/portforward"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// Server is an API server. Its fields are set before Start.
type Server struct {
	// Dial connects to a port of a pod.
	Dial func(pod string, port int) (net.Conn, error)
	// Refuse answers a request instead of forwarding, and says so; nil refuses none.
	Refuse func(w http.ResponseWriter, r *http.Request) bool
	// Stall accepts sessions and answers no stream.
	Stall bool
	// Unread leaves what is sent to a pod that has closed its side unread, as kubelets do: other streams wait behind it.
	Unread bool
	// Other answers everything that is not pods/portforward.
	Other http.Handler

	*httptest.Server
	mu      sync.Mutex
	links   map[io.Closer]struct{}
	dialed  []string // pods
	stalled atomic.Int64
	done    chan struct{}
	tasks   sync.WaitGroup
}

// connKey is of the connection in a request's context.
type connKey struct{}

// Start starts the server with TLS. Close ends it.
func (s *Server) Start() {
	s.links = map[io.Closer]struct{}{}
	s.done = make(chan struct{})
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) }
	s.StartTLS()
}

// Close cuts all sessions and waits until nothing of them is left.
func (s *Server) Close() {
	close(s.done)
	s.Cut()
	s.Server.CloseClientConnections()
	s.Server.Close()
	s.tasks.Wait()
}

// Rest is a client's configuration for the server.
func (s *Server) Rest() *rest.Config {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return &rest.Config{Host: s.URL, QPS: -1, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
}

// Cut breaks every session that is open.
func (s *Server) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.links {
		_ = l.Close() // broken is broken
	}
	clear(s.links)
}

// Sessions is the pods of all sessions that were ever accepted.
func (s *Server) Sessions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.dialed...)
}

// Stalled is how many streams wait for an answer in vain.
func (s *Server) Stalled() int { return int(s.stalled.Load()) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/") // api/v1/namespaces/NS/pods/POD/portforward
	if len(parts) != 7 || parts[6] != "portforward" {
		if s.Other == nil {
			http.NotFound(w, r)
			return
		}
		s.Other.ServeHTTP(w, r)
		return
	}
	if s.Refuse != nil && s.Refuse(w, r) {
		return
	}
	s.add(r.Context().Value(connKey{}).(net.Conn), parts[5])
	f := &forwarder{server: s, pod: parts[5], pairs: map[string]pair{}}
	var conn httpstream.Connection
	if websocket.IsWebSocketUpgrade(r) {
		upgrader := websocket.Upgrader{Subprotocols: []string{protocol.WebsocketsSPDYTunnelingPortForwardV1}}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // it has answered
		}
		if conn, err = spdy.NewServerConnection(portforward.NewTunnelingConnection("server", ws), f.stream); err != nil {
			return
		}
	} else {
		if _, err := httpstream.Handshake(r, w, []string{protocol.PortForwardV1Name}); err != nil {
			return
		}
		if conn = spdy.NewResponseUpgrader().UpgradeResponse(w, r, f.stream); conn == nil {
			return
		}
	}
	<-conn.CloseChan()
	_ = conn.Close()
}

func (s *Server) add(link io.Closer, pod string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links[link] = struct{}{}
	s.dialed = append(s.dialed, pod)
}

// forwarder is the kubelet's part of one session.
type forwarder struct {
	server *Server
	pod    string
	mu     sync.Mutex
	pairs  map[string]pair
}

type pair struct{ data, errs httpstream.Stream }

func (f *forwarder) stream(st httpstream.Stream, replied <-chan struct{}) error {
	if f.server.Stall {
		f.server.stalled.Add(1)
		<-f.server.done
		return errors.New("stalled")
	}
	id := st.Headers().Get(corev1.PortForwardRequestIDHeader)
	f.mu.Lock()
	p := f.pairs[id]
	if st.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
		p.errs = st
	} else {
		p.data = st
	}
	f.pairs[id] = p
	f.mu.Unlock()
	if p.data != nil && p.errs != nil {
		f.server.tasks.Go(func() {
			<-replied
			f.forward(p)
		})
	}
	return nil
}

func (f *forwarder) forward(p pair) {
	defer p.errs.Close()
	defer p.data.Close()
	port, err := strconv.Atoi(p.data.Headers().Get(corev1.PortHeader))
	if err != nil {
		panic(err) // the client under test wrote it
	}
	conn, err := f.server.Dial(f.pod, port)
	if err != nil {
		fmt.Fprintf(p.errs, "error forwarding port %d to pod %s: %v", port, f.pod, err)
		return
	}
	defer conn.Close()
	f.server.tasks.Go(func() {
		if _, err := io.Copy(conn, p.data); err != nil {
			if f.server.Unread {
				<-f.server.done
			}
			_ = p.data.Reset() // what comes yet would wait for a reader, and hold up the session
		}
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	})
	if _, err := io.Copy(p.data, conn); err != nil {
		fmt.Fprintf(p.errs, "error forwarding port %d to pod %s: %v", port, f.pod, err)
	}
}
