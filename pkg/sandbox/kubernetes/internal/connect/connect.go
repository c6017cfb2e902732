// Package connect gives the ways to a sandbox: HTTP to a port of it through a gateway, a tunnel, from inside the cluster or
// by a URL, and raw streams to its pod. What is said on them belongs in the runtimes; port-forwarding itself in portforward.
//
// A Connector is made once for a run and shared by all its sandboxes. A Route is a plain value: where to send requests, with
// which client and headers. Connections that break are made again below it, so that a Route stays good for as long as its
// sandbox; the request that was under way fails, and whether to send it again is for those to say who know what it does.
//
// The way of the requests is that of Agent Sandbox's own clients: routers read X-Sandbox-ID, -Namespace, -Port, -Pod-IP and
// -Timeout (sandbox-router/proxy/headers.go of sigs.k8s.io/agent-sandbox), and sandboxes themselves need none of them.
package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// The modes of Options.
const (
	Tunnel    = "tunnel"     // port-forward to the pods of the router; the default
	Gateway   = "gateway"    // the address in the status of a Gateway
	InCluster = "in-cluster" // the sandbox itself, from a pod of the same cluster
	Direct    = "direct"     // a URL
)

// Options say how sandboxes are reached.
type Options struct {
	Mode string // one of the modes; empty: Tunnel

	GatewayName      string        // of Gateway
	GatewayNamespace string        // empty: default
	GatewayTimeout   time.Duration // for the Gateway to get an address; zero: 3 minutes
	// GatewayScheme is http or https; empty: https where the Gateway has a listener for it.
	GatewayScheme string

	RouterNamespace string // of Tunnel, where the service sandbox-router-svc is; empty: agent-sandbox-system
	APIURL          string // of Direct, http or https, a path is kept
	PodIP           bool   // of InCluster: by the pod's address instead of the name of the sandbox's Service
	ClusterDomain   string // of InCluster; empty: cluster.local

	// CAFile holds certificates in PEM that are trusted beside the system's.
	CAFile string
	// TokenFile holds a bearer token for whoever answers first: gateway, URL, or the router behind the tunnel. It is read again
	// every minute, and when it was refused. Sandboxes never see it.
	TokenFile string
}

// Target is one port of one sandbox.
type Target struct {
	Sandbox   string // the name of the Sandbox, not of its claim
	Namespace string
	Pod       string
	Port      int
	PodIPs    []string // as in the Sandbox's status; the first valid one is used, IPv4 before IPv6
	Service   bool     // the sandbox has a Service, and so a name in the cluster's DNS
}

// Route is the way to one Target. It stays good for as long as the sandbox.
type Route struct {
	URL string // without a slash at its end
	// Client follows no redirect (*RedirectError) and has no time limit of its own. Errors that no repetition can cure are
	// *sandbox.Error of KindUnsupported in the chain.
	Client *http.Client
	Header http.Header // for every request; not to be written to
}

// Connector is one way to all sandboxes. Its methods may be called from many goroutines, and fail with *sandbox.Error.
type Connector interface {
	// Ready makes the connection that the sandboxes share, or waits for it. Route and Dial need no Ready before them.
	Ready(ctx context.Context) error
	// Route makes the shared connection if there is none, and says how requests reach the target. It sends nothing to it.
	Route(ctx context.Context, t Target) (Route, error)
	// Dial opens a raw stream to the target's port of its pod: by the pod's address with InCluster, by port-forward
	// otherwise, and where the pod listens on its loopback only.
	Dial(ctx context.Context, t Target) (net.Conn, error)
	// Close ends every connection. It is safe to call twice.
	Close() error
}

// Open checks the options. It makes no connection and no request. The error is a *sandbox.Error.
func Open(ctx context.Context, c *cluster.Cluster, o Options) (Connector, error) {
	return nil, unsupported(errors.New("soon"))
}

// RedirectError says that a server sent a request elsewhere. Redirects are not followed: a sandbox, or whoever is in the
// way, would choose whom the token and the request go to.
type RedirectError struct {
	Status   int    // 301, 302, 303, 307 or 308
	From, To string // URLs
}

func (e *RedirectError) Error() string {
	return fmt.Sprintf("%s redirects (%d) to %s; redirects are not followed", e.From, e.Status, e.To)
}

func unsupported(err error) error {
	return &sandbox.Error{Op: "connect", Kind: sandbox.KindUnsupported, Err: err}
}
