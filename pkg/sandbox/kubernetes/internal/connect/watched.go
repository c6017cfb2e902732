package connect

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
)

// watched is a stream to the router that tells the tunnel what becomes of it, since a session may outlive its use:
//
//   - the pod is gone, or nothing listens in it: the kubelet fails every stream, and keeps the session;
//   - the pod closed its side while more was sent to it: the kubelet leaves that unread, and other streams of the session wait
//     behind it (k8s.io/cri-streaming has no flow control). Nothing says so, but this stream is then closed with
//     something sent and not answered.
type watched struct {
	net.Conn
	tunnel  *tunnel
	session *session

	once    sync.Once
	waiting atomic.Bool // something was written since the last Read
	writing atomic.Int32
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if n > 0 {
		w.waiting.Store(false)
		w.once.Do(w.tunnel.worked)
	}
	w.failed(err)
	return n, err
}

func (w *watched) Write(b []byte) (int, error) {
	w.writing.Add(1)
	defer w.writing.Add(-1)
	w.waiting.Store(true)
	n, err := w.Conn.Write(b)
	w.failed(err)
	return n, err
}

func (w *watched) failed(err error) {
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
		w.tunnel.retire(w.session)
	}
}

func (w *watched) Close() error {
	if w.waiting.Load() || w.writing.Load() > 0 {
		w.tunnel.retire(w.session)
	}
	return w.Conn.Close()
}
