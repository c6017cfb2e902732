package connect

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/portforward"
)

// way is one mode: what sandboxes share, and where requests for one of them go.
type way interface {
	// ready makes the shared connection. A failed one is made again by the next call.
	ready(ctx context.Context) error
	// url is called after ready only.
	url(t Target) (string, error)
	dial(ctx context.Context, network, address string) (net.Conn, error)
	close() error
}

type connector struct {
	way
	cluster *cluster.Cluster
	client  *http.Client
	routed  bool // a router is on the way
	pods    bool // pods' addresses can be reached from here

	mu       sync.Mutex
	closed   bool
	sessions map[*portforward.Session]struct{} // of Dial
}

// Open checks the options and reads the files that they name. It makes no connection; the context is for a mode that will.
// The error is a *sandbox.Error of KindInvalid.
func Open(_ context.Context, c *cluster.Cluster, o Options) (Connector, error) {
	o.Mode = cmp.Or(o.Mode, Tunnel)
	o.GatewayNamespace = cmp.Or(o.GatewayNamespace, "default")
	o.GatewayTimeout = cmp.Or(o.GatewayTimeout, 3*time.Minute)
	o.RouterNamespace = cmp.Or(o.RouterNamespace, "agent-sandbox-system")
	o.ClusterDomain = strings.Trim(cmp.Or(o.ClusterDomain, "cluster.local"), ".")
	con := &connector{
		cluster: c, routed: o.Mode != InCluster, pods: o.Mode == InCluster, sessions: map[*portforward.Session]struct{}{},
	}
	var err error
	switch o.Mode {
	case Tunnel:
		con.way, err = newTunnel(c, o)
	case Gateway:
		con.way, err = newGateway(c, o)
	case InCluster:
		con.way, err = newInside(o)
	case Direct:
		con.way, err = newDirect(o)
	default:
		err = invalid("unknown connection %q: it is tunnel, gateway, in-cluster or direct", o.Mode)
	}
	if err != nil {
		return nil, err
	}
	if con.client, err = newClient(o, con.dial); err != nil {
		return nil, err
	}
	return con, nil
}

// Ready makes the connection that the sandboxes share.
func (c *connector) Ready(ctx context.Context) error { return c.ready(ctx) }

// Route says how requests reach the target.
func (c *connector) Route(ctx context.Context, t Target) (Route, error) {
	if err := c.ready(ctx); err != nil {
		return Route{}, err
	}
	u, err := c.url(t)
	if err != nil {
		return Route{}, err
	}
	r := Route{URL: u, Client: c.client, Header: http.Header{}, Routed: c.routed}
	if c.routed {
		r.Header.Set("X-Sandbox-ID", t.Sandbox)
		r.Header.Set("X-Sandbox-Namespace", t.Namespace)
		r.Header.Set("X-Sandbox-Port", strconv.Itoa(t.Port))
		if ip := podIP(t.PodIPs); ip != "" {
			r.Header.Set("X-Sandbox-Pod-IP", ip)
		}
	}
	return r, nil
}

// Close ends every connection.
func (c *connector) Close() error {
	c.mu.Lock()
	c.closed = true
	left := c.sessions
	c.sessions = map[*portforward.Session]struct{}{}
	c.mu.Unlock()
	for s := range left {
		_ = s.Close() // an end that is not polite is one too
	}
	err := c.close()
	c.client.CloseIdleConnections()
	return err
}

// fixed is what modes share whose connection needs no making.
type fixed struct{ dialer net.Dialer }

func (fixed) ready(context.Context) error { return nil }
func (fixed) close() error                { return nil }

func (f *fixed) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return f.dialer.DialContext(ctx, network, address)
}

func readable(flag, file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, invalid("%s: %w", flag, err)
	}
	if len(b) == 0 {
		return nil, invalid("%s: %s is empty", flag, file)
	}
	return b, nil
}

func checkNamespace(flag, name string) error {
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return invalid("%s %q is not the name of a namespace: %s", flag, name, problems[0])
	}
	return nil
}
