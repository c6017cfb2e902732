package portforward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	protocol "k8s.io/apimachinery/pkg/util/portforward"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/websocket"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// dial asks the API server for the connection that carries the streams: in a WebSocket, and where that is not understood
// or not allowed (it is another verb of RBAC: get, not create) by an upgraded request.
func dial(ctx context.Context, config *rest.Config, namespace, pod string) (net.Conn, error) {
	ws, err := dialWebSocket(ctx, config, namespace, pod)
	if err == nil {
		return newLink(ws, silence), nil
	}
	if !httpstream.IsUpgradeFailure(err) && !httpstream.IsHTTPSProxyError(err) {
		return nil, err
	}
	upgraded, second := dialUpgrade(ctx, config, namespace, pod)
	if second == nil {
		return newLink(upgraded, silence), nil
	}
	if _, ok := errors.AsType[*apierrors.StatusError](second); ok {
		return nil, second // the same, said better
	}
	return nil, fmt.Errorf("%w (by WebSocket: %w)", second, err)
}

func request(ctx context.Context, config *rest.Config, method, namespace, pod string) (*http.Request, error) {
	c := rest.CopyConfig(config)
	c.GroupVersion, c.APIPath = &corev1.SchemeGroupVersion, "/api"
	base, versioned, err := rest.DefaultServerUrlFor(c)
	if err != nil {
		return nil, err
	}
	u := base.JoinPath(versioned, "namespaces", namespace, "pods", pod, "portforward")
	return http.NewRequestWithContext(ctx, method, u.String(), nil)
}

func dialWebSocket(ctx context.Context, config *rest.Config, namespace, pod string) (io.ReadWriteCloser, error) {
	req, err := request(ctx, config, http.MethodGet, namespace, pod)
	if err != nil {
		return nil, err
	}
	transport, holder, err := websocket.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	ws, err := websocket.Negotiate(transport, holder, req, protocol.WebsocketsSPDYTunnelingPortForwardV1)
	if err != nil {
		return nil, err
	}
	return portforward.NewTunnelingConnection("client", ws), nil
}

// dialUpgrade does the same by an upgrade of HTTP/1.1, through net/http, which knows proxies and how to be cancelled.
func dialUpgrade(ctx context.Context, config *rest.Config, namespace, pod string) (io.ReadWriteCloser, error) {
	req, err := request(ctx, config, http.MethodPost, namespace, pod)
	if err != nil {
		return nil, err
	}
	req.Header.Set(httpstream.HeaderConnection, httpstream.HeaderUpgrade)
	req.Header.Set(httpstream.HeaderUpgrade, spdy.HeaderSpdy31)
	req.Header.Set(httpstream.HeaderProtocolVersion, protocol.PortForwardV1Name)
	c := rest.CopyConfig(config)
	c.NextProtos = []string{"http/1.1"} // HTTP/2 has no upgrade
	transport, err := rest.TransportFor(c)
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, ok := resp.Body.(io.ReadWriteCloser)
	if resp.StatusCode == http.StatusSwitchingProtocols && ok {
		return body, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp, pod)
}

// refusal is the API server's answer as client-go's clients return it.
func refusal(resp *http.Response, pod string) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("%s: %w", resp.Status, err)
	}
	var status metav1.Status
	if json.Unmarshal(b, &status) == nil && status.Status == metav1.StatusFailure {
		return &apierrors.StatusError{ErrStatus: status}
	}
	return apierrors.NewGenericServerResponse(resp.StatusCode, "create", corev1.Resource("pods/portforward"), pod, string(b), 0, true)
}

// link is the connection below the streams. It ends when a Read has waited for too long: an API server that vanished says
// nothing, and nothing else would tell within a quarter of an hour. Time in which nobody reads does not count.
type link struct {
	io.ReadWriteCloser
	silence time.Duration
	end     *time.Timer
	close   func() error
}

func newLink(c io.ReadWriteCloser, silence time.Duration) *link {
	l := &link{ReadWriteCloser: c, silence: silence, close: sync.OnceValue(c.Close)}
	l.end = time.AfterFunc(silence, func() { _ = l.Close() })
	return l
}

func (l *link) Read(b []byte) (int, error) {
	l.end.Reset(l.silence)
	defer l.end.Stop()
	return l.ReadWriteCloser.Read(b)
}

func (l *link) Close() error {
	l.end.Stop()
	return l.close()
}

// The rest of net.Conn is asked for by type and never used by the streams.

func (l *link) LocalAddr() net.Addr              { return addr("local") }
func (l *link) RemoteAddr() net.Addr             { return addr("API server") }
func (l *link) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (l *link) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (l *link) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// addr is the address of what has none of its own.
type addr string

func (addr) Network() string  { return "portforward" }
func (a addr) String() string { return string(a) }
