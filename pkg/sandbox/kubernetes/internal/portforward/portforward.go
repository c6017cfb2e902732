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
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// ErrLost is in the chain of every error that comes from the end of the session, and not of one stream.
var ErrLost = errors.New("the port-forward session was lost")

const (
	// handshake limits the making of a session.
	handshake = 30 * time.Second
	// Each ping is answered at the other end, so that silence for that many of them means that there is none.
	pingPeriod = 10 * time.Second
	silence    = 3*pingPeriod + pingPeriod/2
)

// Session is a connection to one pod. Its methods may be called from many goroutines.
type Session struct {
	pod     string
	link    net.Conn
	streams httpstream.Connection
	pairs   atomic.Int64 // numbers the pairs of streams
	open    atomic.Int64
	lost    chan struct{}
	close   sync.Once
}

// Forward connects to a running pod. The error is the API server's own (k8s.io/apimachinery/pkg/api/errors) where it gave one.
func Forward(ctx context.Context, config *rest.Config, namespace, pod string) (*Session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, handshake, fmt.Errorf("the API server did not answer within %v", handshake))
	defer cancel()
	link, err := dial(ctx, config, namespace, pod)
	if err != nil {
		return nil, fmt.Errorf("port-forward to pod %s/%s: %w", namespace, pod, err)
	}
	streams, err := spdy.NewClientConnectionWithPings(link, pingPeriod)
	if err != nil {
		return nil, fmt.Errorf("port-forward to pod %s/%s: %w", namespace, pod, err) // link is closed
	}
	s := &Session{pod: namespace + "/" + pod, link: link, streams: streams, lost: make(chan struct{})}
	go func() {
		<-streams.CloseChan()
		_ = s.Close()
		close(s.lost)
	}()
	return s, nil
}

// Dial opens a stream to a port of the pod's loopback. Where nothing listens there, the first Read says so: the kubelet
// connects when the stream is open already. The connection has a CloseWrite method as *net.TCPConn does.
func (s *Session) Dial(ctx context.Context, port int) (net.Conn, error) {
	type opened struct {
		p   pair
		err error
	}
	select {
	case <-s.streams.CloseChan(): // a stream of a closed connection is never given back
		return nil, s.dialError(port, ErrLost)
	default:
	}
	// Opening a stream cannot be cancelled; it ends by itself within half a minute.
	done, givenUp := make(chan opened), make(chan struct{})
	defer close(givenUp)
	go func() {
		p, err := s.pair(port)
		select {
		case done <- opened{p, err}:
		case <-givenUp:
			p.discard(s.streams)
		}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return nil, s.dialError(port, o.err)
		}
		return newConn(s, o.p, port), nil
	case <-ctx.Done():
		return nil, s.dialError(port, context.Cause(ctx))
	case <-s.lost:
		return nil, s.dialError(port, ErrLost)
	}
}

func (s *Session) dialError(port int, err error) error {
	return fmt.Errorf("port %d of pod %s: %w", port, s.pod, err)
}

// pair is the two streams of one connection.
type pair struct{ data, errs httpstream.Stream }

func (p pair) discard(c httpstream.Connection) {
	for _, s := range []httpstream.Stream{p.data, p.errs} {
		if s != nil {
			_ = s.Reset() // it fails only where the whole session has
			c.RemoveStreams(s)
		}
	}
}

// pair opens the two streams. A session whose other end opens no streams is at its end.
func (s *Session) pair(port int) (p pair, err error) {
	defer func() {
		if err != nil {
			p.discard(s.streams)
			err = fmt.Errorf("%w: %w", ErrLost, err)
			_ = s.Close()
		}
	}()
	h := http.Header{}
	h.Set(corev1.PortForwardRequestIDHeader, strconv.FormatInt(s.pairs.Add(1), 10))
	h.Set(corev1.PortHeader, strconv.Itoa(port))
	h.Set(corev1.StreamType, corev1.StreamTypeError)
	if p.errs, err = s.streams.CreateStream(h); err != nil {
		return p, err
	}
	if err = p.errs.Close(); err != nil { // nothing is written to it
		return p, err
	}
	h = h.Clone()
	h.Set(corev1.StreamType, corev1.StreamTypeData)
	p.data, err = s.streams.CreateStream(h)
	return p, err
}

// Open is the number of connections that are open.
func (s *Session) Open() int { return int(s.open.Load()) }

// Lost is closed when the session has ended, by itself or by Close.
func (s *Session) Lost() <-chan struct{} { return s.lost }

// Close ends the session and all its streams.
func (s *Session) Close() error {
	var err error
	s.close.Do(func() {
		// The link goes first: a polite end would wait behind data that nobody takes.
		err = s.link.Close()
		_ = s.streams.Close() // what it writes cannot arrive any more
	})
	return err
}
