package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/portforward"
)

// podTimeout is for a pod's address to accept a connection before the port-forward is tried.
const podTimeout = 3 * time.Second

// Dial opens a raw stream to the target's port.
func (c *connector) Dial(ctx context.Context, t Target) (net.Conn, error) {
	var first error
	if ip := podIP(t.PodIPs); c.pods && ip != "" {
		d := net.Dialer{Timeout: podTimeout, KeepAlive: 15 * time.Second}
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(ip, strconv.Itoa(t.Port)))
		if err == nil {
			return conn, nil
		}
		first = fmt.Errorf("by its address: %w; by port-forward", err)
	}
	conn, err := c.forward(ctx, t)
	if err != nil && first != nil {
		err = fmt.Errorf("%w: %w", first, err)
	}
	return conn, cluster.Classify("connect", t.Sandbox, err)
}

var errClosed = failure(sandbox.KindReleased, "the connection is closed")

// forward makes a session for one stream: a sandbox has few of them, and a session ends with its pod.
func (c *connector) forward(ctx context.Context, t Target) (net.Conn, error) {
	s, err := portforward.Forward(ctx, c.cluster.Config, t.Namespace, t.Pod)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.sessions[s] = struct{}{}
	}
	c.mu.Unlock()
	if closed {
		_ = s.Close()
		return nil, errClosed
	}
	conn, err := s.Dial(ctx, t.Port)
	if err != nil {
		c.forget(s)
		_ = s.Close() // what went wrong is known
		return nil, err
	}
	return &owner{Conn: conn, close: sync.OnceValue(func() error {
		c.forget(s)
		return errors.Join(conn.Close(), s.Close())
	})}, nil
}

func (c *connector) forget(s *portforward.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, s)
}

// owner is a connection that something else ends with.
type owner struct {
	net.Conn
	close func() error
}

func (o *owner) Close() error { return o.close() }

// CloseWrite says that no more data comes.
func (o *owner) CloseWrite() error { return o.Conn.(interface{ CloseWrite() error }).CloseWrite() }
