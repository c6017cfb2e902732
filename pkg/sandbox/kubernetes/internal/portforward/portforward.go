// Package portforward opens streams to ports of one pod over one connection to the API server, as `kubectl port-forward`
// does, but with each stream on its own: what goes wrong with one stream is that stream's error, and the others go on. Which
// pod, and when to connect again, belongs in connect.
//
// The protocol is Kubernetes' portforward.k8s.io: SPDY/3.1 streams in pairs, one for data and one on which the kubelet says
// what went wrong, in a WebSocket or, with API servers and proxies that know no WebSocket here, in an upgraded HTTP request.
package portforward

import (
	"context"
	"errors"
	"net"

	"k8s.io/client-go/rest"
)

// ErrLost is in the chain of every error that comes from the end of the session, and not of one stream.
var ErrLost = errors.New("the port-forward session was lost")

// Session is a connection to one pod. Its methods may be called from many goroutines.
type Session struct {
	lost chan struct{}
}

// Forward connects to a running pod. The error is the API server's own (k8s.io/apimachinery/pkg/api/errors) where it gave one.
func Forward(ctx context.Context, config *rest.Config, namespace, pod string) (*Session, error) {
	return nil, ErrLost
}

// Dial opens a stream to a port of the pod's loopback. Nothing listens there: the first Read says so, since the kubelet
// connects when the stream is open already. The connection has a CloseWrite method as *net.TCPConn does.
func (s *Session) Dial(ctx context.Context, port int) (net.Conn, error) { return nil, ErrLost }

// Lost is closed when the session has ended, by itself or by Close.
func (s *Session) Lost() <-chan struct{} { return s.lost }

// Close ends the session and all its streams.
func (s *Session) Close() error { return nil }
