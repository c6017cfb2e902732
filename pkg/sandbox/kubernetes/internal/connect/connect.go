// Package connect gives the ways to a sandbox: HTTP to a port of it through a gateway, a tunnel, from inside the cluster or
// by a URL, and raw streams to its pod. What is said on them belongs in the runtimes; port-forwarding itself in portforward.
//
// A Connector is made once for a run and shared by all its sandboxes. A Route is a plain value: where to send requests, with
// which client and headers. Connections that break are made again below it, so that a Route stays good for as long as its
// sandbox; the request that was under way fails, and whether to send it again is for those to say who know what it does.
//
// Requests are those of Agent Sandbox's own clients: routers read X-Sandbox-ID, -Namespace, -Port, -Pod-IP and -Timeout
// (sandbox-router/proxy/headers.go of sigs.k8s.io/agent-sandbox); sandboxes themselves need none of them.
package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
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

	RouterNamespace string // of Tunnel, where the service sandbox-router-svc is; empty: agent-sandbox-system
	APIURL          string // of Direct, http or https, a path is kept
	PodIP           bool   // of InCluster: by the pod's address instead of the name of the sandbox's Service
	ClusterDomain   string // of InCluster; empty: cluster.local

	// CAFile holds certificates in PEM that are trusted beside the system's.
	CAFile string
	// TokenFile holds a bearer token for whoever answers first: gateway, URL, or the router behind the tunnel. It is read again
	// every minute, and when it was refused. Sandboxes never see it, and nor does a network: with http it goes to addresses
	// of private networks and names of the cluster only.
	TokenFile string
}

// Target is one port of one sandbox.
type Target struct {
	Sandbox   string // the name of the Sandbox, not of its claim
	Namespace string
	Pod       string
	Port      int
	PodIPs    []string // as in the Sandbox's status; IPv4 is taken before IPv6
	Service   bool     // the sandbox has a Service, and so a name in the cluster's DNS
}

// Route is the way to one Target. It stays good for as long as the sandbox.
type Route struct {
	URL string // without a slash at its end
	// Client has no time limit of its own and follows no redirect: it returns a *RedirectError. An error that no repetition
	// can cure has a *sandbox.Error in its chain, of KindUnsupported or KindReleased; no other has one.
	Client *http.Client
	Header http.Header // for every request; not to be written to
	// Routed says that a router, or what stands before it, is asked first: where nobody answers, that is not the sandbox's doing.
	Routed bool
}

// Connector is one way to all sandboxes. Its methods may be called from many goroutines, and fail with *sandbox.Error.
type Connector interface {
	// Ready makes the connection that the sandboxes share, or waits for it. Neither Route nor Dial needs it before them.
	Ready(ctx context.Context) error
	// Route says how requests reach the target, once the shared connection stands. It sends nothing to the target.
	Route(ctx context.Context, t Target) (Route, error)
	// Dial opens a raw stream to the target's port: with InCluster to the pod's address; otherwise, and where that does not
	// answer, by port-forward, which reaches what listens on the pod's loopback too.
	Dial(ctx context.Context, t Target) (net.Conn, error)
	// Close ends every connection. It is safe to call twice.
	Close() error
}

// RedirectError says that a server sent a request elsewhere. Redirects are not followed: a sandbox, or whoever is on the
// way, would choose who gets the token and the request.
type RedirectError struct {
	Status   int // 301, 302, 303, 307 or 308
	From, To string
}

func (e *RedirectError) Error() string {
	return fmt.Sprintf("%s redirects (%d) to %s, and redirects are not followed", e.From, e.Status, e.To)
}

func unsupported(format string, args ...any) error {
	return failure(sandbox.KindUnsupported, format, args...)
}

// invalid is of what was chosen and is not there.
func invalid(format string, args ...any) error {
	return failure(sandbox.KindInvalid, format, args...)
}

func unavailable(format string, args ...any) error {
	return failure(sandbox.KindUnavailable, format, args...)
}

func failure(kind sandbox.Kind, format string, args ...any) error {
	return &sandbox.Error{Op: "connect", Kind: kind, Err: fmt.Errorf(format, args...)}
}

// final errors stay whatever is waited for.
func final(err error) bool {
	e, ok := errors.AsType[*sandbox.Error](err)
	return ok && (e.Kind == sandbox.KindUnsupported || e.Kind == sandbox.KindReleased)
}

// transient takes the kind from an error that waiting may cure: of a request it says no more than that it had no answer.
func transient(err error) error {
	if _, typed := errors.AsType[*sandbox.Error](err); typed && !final(err) {
		return errors.New(err.Error())
	}
	return err
}
