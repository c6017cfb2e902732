package kubernetes

import (
	"cmp"
	"errors"
	"net"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/claim"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
)

// Options say which cluster, and how its sandboxes are reached. The zero value is the cluster of kubectl and a tunnel to
// the router.
type Options struct {
	sandbox.Run

	// Kubeconfig, Context and Namespace choose the cluster as kubectl's flags do; empty: $KUBECONFIG, ~/.kube/config, the
	// current context and its namespace, or the service account of the pod that this runs in.
	Kubeconfig, Context, Namespace string
	// TokenFile holds a bearer token that is sent to the router, gateway or URL; it is read again when it changes.
	// CAFile holds the certificates, in PEM, that sign theirs; empty: the system's.
	TokenFile, CAFile string

	Connection Connection
	// GatewayName and GatewayNamespace are the Gateway whose address is used; GatewayTimeout limits the wait for it.
	GatewayName, GatewayNamespace string
	GatewayTimeout                time.Duration // zero: DefaultGatewayTimeout
	// RouterNamespace is where the service sandbox-router-svc is; empty: DefaultRouterNamespace.
	RouterNamespace string
	// APIURL is the router's URL for ConnectionDirect.
	APIURL string
	// PodIP reaches sandboxes by the addresses of their pods instead of their names, for ConnectionInCluster.
	PodIP bool
	// ClusterDomain ends the names of services; empty: cluster.local.
	ClusterDomain string

	// Default is the pool, template or image for a Spec that names none.
	Default Source
	// AcquireTimeout limits one Acquire, from the claim to the first command; zero: DefaultAcquireTimeout.
	AcquireTimeout time.Duration
	// Hold is how long a sandbox is held at most before it is reset or released; zero: DefaultHold. What outlives it by
	// far is removed by the cluster itself, whatever became of this process.
	Hold time.Duration
}

// Source is where sandboxes come from: exactly one of its fields is set.
type Source struct{ WarmPool, Template, Image string }

// Connection is a way to the runtimes of sandboxes.
type Connection string

// The connections. The empty Connection is ConnectionTunnel.
const (
	ConnectionTunnel    Connection = "tunnel"     // port-forward to the router
	ConnectionGateway   Connection = "gateway"    // the address of a Gateway that leads to the router
	ConnectionInCluster Connection = "in-cluster" // from a pod of the same cluster, without the router
	ConnectionDirect    Connection = "direct"     // a URL that leads to the router
)

// Defaults of Options.
const (
	DefaultGatewayTimeout  = 3 * time.Minute
	DefaultRouterNamespace = "agent-sandbox-system"
	DefaultAcquireTimeout  = 5 * time.Minute
	DefaultHold            = time.Hour
)

func (o Options) withDefaults() Options {
	o.Connection = cmp.Or(o.Connection, ConnectionTunnel)
	o.GatewayTimeout = cmp.Or(o.GatewayTimeout, DefaultGatewayTimeout)
	o.GatewayNamespace = cmp.Or(o.GatewayNamespace, "default")
	o.RouterNamespace = cmp.Or(o.RouterNamespace, DefaultRouterNamespace)
	o.ClusterDomain = cmp.Or(o.ClusterDomain, "cluster.local")
	o.AcquireTimeout = cmp.Or(o.AcquireTimeout, DefaultAcquireTimeout)
	o.Hold = cmp.Or(o.Hold, DefaultHold)
	return o
}

func (o Options) cluster() (*cluster.Cluster, error) {
	return cluster.Open(cluster.Options{Kubeconfig: o.Kubeconfig, Context: o.Context, Namespace: o.Namespace})
}

func (o Options) connection() connect.Options {
	return connect.Options{
		Mode: string(o.Connection), GatewayName: o.GatewayName, GatewayNamespace: o.GatewayNamespace, GatewayTimeout: o.GatewayTimeout,
		ClusterDomain: o.ClusterDomain, CAFile: o.CAFile, TokenFile: o.TokenFile, RouterNamespace: o.RouterNamespace, APIURL: o.APIURL, PodIP: o.PodIP,
	}
}

// named says whether sandboxes are reached by names in the cluster's DNS, which only those with a Service have.
func (o Options) named() bool { return o.Connection == ConnectionInCluster && !o.PodIP }

// lifetime is for how long, from now, a sandbox may be needed.
func (o Options) lifetime() time.Duration { return o.AcquireTimeout + o.Hold + grace }

// complete gives a spec that names no pool, template, image or spec of its own the default one.
func (o Options) complete(spec sandbox.Spec) (sandbox.Spec, error) {
	c := &spec.Cluster
	if c.WarmPool == "" && c.Template == "" && c.Image == "" && len(c.Spec) == 0 {
		c.WarmPool, c.Template, c.Image = o.Default.WarmPool, o.Default.Template, o.Default.Image
		if o.Default == (Source{}) {
			return spec, &sandbox.Error{Op: "acquire " + spec.Name, Kind: sandbox.KindUnsupported, Err: errors.New(
				"nothing says where this sandbox comes from: give the recipe warmpool, template, image or spec, or the command line --warmpool, --template or --image")}
		}
	}
	return spec, nil
}

// entrances are who connects to the runtimes of sandboxes.
func (o Options) entrances() []claim.Peer {
	if o.Connection == ConnectionInCluster {
		return self()
	}
	var peers []claim.Peer
	for _, label := range routerLabels {
		peers = append(peers, claim.Peer{Namespace: o.RouterNamespace, Labels: map[string]string{label: "sandbox-router"}})
	}
	return peers
}

// routerLabels are what the pods of Agent Sandbox's two routers carry: the Python one's manifest says the first, and so does
// the policy that the controller writes by default; the Go one's says the second.
var routerLabels = []string{"app", "app.kubernetes.io/name"}

// self is the address of the pod that this runs in, as other pods see it.
func self() (peers []claim.Peer) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil // no sandbox with a policy will be reached, which says so
	}
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			peers = append(peers, claim.Peer{IP: ip.IP.String()})
		}
	}
	return peers
}
