package portforward

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
)

// reasonWait is for how long the end of the data waits for the reason of it, which the kubelet sends, or withholds, at once.
const reasonWait = 5 * time.Second

// mostReason is how much of the kubelet's reason is passed on, in bytes: it tells of folders on the node, at length.
const mostReason = 400

// conn is one pair of streams as a net.Conn. The streams have no deadlines, and a read from one of them ends only with the
// stream; so a pipe for each direction, which has all that, stands between them and the user. What is not read holds up what
// comes after it on the session: nothing in the protocol says how much the reader can take.
type conn struct {
	session *Session
	port    int
	streams pair

	in, out        net.Conn // the user's ends of the pipes
	fromPod, toPod net.Conn // ours
	heard          chan struct{}
	closed         chan struct{}
	close          sync.Once
	mu             sync.Mutex
	err            error // what Read and Write return in the place of the end
}

func newConn(s *Session, streams pair, port int) *conn {
	c := &conn{session: s, port: port, streams: streams, heard: make(chan struct{}), closed: make(chan struct{})}
	c.in, c.fromPod = net.Pipe()
	c.out, c.toPod = net.Pipe()
	s.open.Add(1)
	go c.listen()
	go c.receive()
	go c.send()
	return c
}

// listen reads the stream of errors. What is said there ends this connection, and no other.
func (c *conn) listen() {
	defer close(c.heard)
	b, _ := io.ReadAll(io.LimitReader(c.streams.errs, 64<<10)) // what came before it broke off is reason enough
	if len(b) == 0 {
		return
	}
	reason := errors.New(strings.TrimSpace(string(b[:min(len(b), mostReason)])))
	if strings.Contains(string(b), "connection refused") {
		reason = fmt.Errorf("nothing listens there: %w", syscall.ECONNREFUSED)
	}
	c.fail(reason)
	_ = c.streams.data.Reset() // ends receive
}

// receive copies from the pod.
func (c *conn) receive() {
	if _, err := io.Copy(c.fromPod, c.streams.data); err != nil {
		_ = c.streams.data.Reset() // the user closed: what comes yet must not wait for a reader
	}
	// The end of the data may overtake the reason for it.
	select {
	case <-c.heard:
	case <-c.closed:
	case <-time.After(reasonWait):
	}
	select {
	case <-c.session.streams.CloseChan(): // it ends all streams as if each were complete
		c.fail(ErrLost)
	default:
	}
	_ = c.fromPod.Close()
}

// send copies to the pod, and gives back the streams in the end.
func (c *conn) send() {
	if _, err := io.Copy(c.streams.data, c.toPod); err != nil {
		c.fail(fmt.Errorf("%w: %w", ErrLost, err))
	}
	_ = c.streams.data.Close() // the other end reads to here; it fails only where the session has
	<-c.closed
	c.streams.discard(c.session.streams)
	c.session.open.Add(-1)
}

// fail makes err what Read and Write return from now on, unless there is an earlier one.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = c.session.dialError(c.port, err)
	}
	c.mu.Unlock()
	_ = c.toPod.Close()
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	return n, c.explain(err)
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.out.Write(b)
	return n, c.explain(err)
}

// explain says why a pipe is at its end.
func (c *conn) explain(err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	select {
	case <-c.closed:
		return net.ErrClosed
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return c.err
	case errors.Is(err, io.EOF):
		return io.EOF
	}
	return net.ErrClosed // written to after CloseWrite
}

// CloseWrite tells the pod that no more data comes. What it sends can still be read.
func (c *conn) CloseWrite() error { return c.out.Close() }

// Close sends what was written, and gives up what was not read.
func (c *conn) Close() error {
	c.close.Do(func() {
		close(c.closed)
		_ = c.in.Close()
		_ = c.out.Close() // neither fails
	})
	return nil
}

func (c *conn) LocalAddr() net.Addr { return addr("local") }

func (c *conn) RemoteAddr() net.Addr { return addr(fmt.Sprintf("%s:%d", c.session.pod, c.port)) }

// The deadlines of a pipe whose other end is closed cannot be set, and do not matter.

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.in.SetDeadline(t)
	_ = c.out.SetDeadline(t)
	return c.usable()
}

func (c *conn) SetReadDeadline(t time.Time) error {
	_ = c.in.SetReadDeadline(t)
	return c.usable()
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	_ = c.out.SetWriteDeadline(t)
	return c.usable()
}

func (c *conn) usable() error {
	select {
	case <-c.closed:
		return net.ErrClosed
	default:
		return nil
	}
}
