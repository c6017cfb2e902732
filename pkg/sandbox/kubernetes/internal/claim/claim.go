// Package claim takes sandboxes from Agent Sandbox and gives them back: claims and the run's one watch of them, the
// Lease that owns what a run makes, templates, pools and network policies of the run's own, and the removal of what
// dead runs left. How to reach a sandbox belongs in connect, what to say to it in runtime and shell.
package claim

import (
	"context"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// Options of Open.
type Options struct {
	Cluster *cluster.Cluster
	Run     sandbox.Run
	// AcquireLimit is the most that Acquire waits for a claim to become ready; zero: as long as its context lets it.
	AcquireLimit time.Duration
	// Entrances are who may connect to sandboxes whose network the run itself writes. Exec and port-forward to the pod need none.
	Entrances []Peer
	// Service gives sandboxes of the run's own templates a Service, so that they have a name in the cluster's DNS.
	Service bool
	// Trace writes the trace context of Acquire's context onto the claim.
	Trace bool
}

// Peer is who may connect to a sandbox: pods with these labels in this namespace, or one address.
type Peer struct {
	Namespace string
	Labels    map[string]string
	IP        string // takes the place of Namespace and Labels
}

// Request is what Acquire needs.
type Request struct {
	Spec sandbox.Spec
	// Lifetime is when the cluster itself takes the sandbox down, counted from now: the acquire limit, the sample's timeout
	// and the grace for its end.
	Lifetime time.Duration
}

// Claim is one claim that became ready. Its fields do not change.
type Claim struct {
	Name      string // of the SandboxClaim; the sandbox's ID
	Namespace string
	Sandbox   string // status.sandbox.name: what routers call it
	Pod       string
	PodIPs    []string
	// Pool names the warm pool, so that what is found out of one of its sandboxes can be kept for the others.
	Pool string
	// Container is the pod's container for exec where the run's own template names it; empty: the pod's default.
	Container string
}

type Claims struct{}

// Open finds out which versions of the API are served: one request. Lease and watch come with the first Acquire.
func Open(ctx context.Context, o Options) (*Claims, error) { panic("soon") }

// Acquire returns when the claim is ready. Terminal reasons end it at once; cancelled, it leaves nothing behind.
func (c *Claims) Acquire(ctx context.Context, r Request) (*Claim, error) { panic("soon") }

// Release deletes the claim and returns when its sandbox and pod are gone; it waits for an API server that is away as long as ctx does.
func (c *Claims) Release(ctx context.Context, cl *Claim) error { panic("soon") }

// Close releases what is left and everything else of the run. The error names what is still there. Safe to call twice.
func (c *Claims) Close(ctx context.Context) error { panic("soon") }

// Warnings says, one line each, what is not enforced for spec on a cluster.
func (c *Claims) Warnings(spec sandbox.Spec) []string { panic("soon") }

// Gone closes when the sandbox is gone: deleted, expired, evicted, failed, its pod replaced.
func (cl *Claim) Gone() <-chan struct{} { panic("soon") }

// Cause says why Gone is closed: *sandbox.Error of KindLost. nil before.
func (cl *Claim) Cause() error { panic("soon") }

// OOM is true where Cause is that the pod's container was killed for memory.
func (cl *Claim) OOM() bool { panic("soon") }

// Inspect asks the cluster now what became of the pod (one request), for callers who lost contact before the watch
// knew: nil, or Cause.
func (cl *Claim) Inspect(ctx context.Context) error { panic("soon") }

// Extend moves the end of the claim's life to d from now.
func (cl *Claim) Extend(ctx context.Context, d time.Duration) error { panic("soon") }

// Service says whether the sandbox has a Service of its own, and so a name in DNS. The first call makes one request.
func (cl *Claim) Service(ctx context.Context) (bool, error) { panic("soon") }

// Attach finds a claim of any run, or of another program, that is ready. Release deletes it like the run's own; Close does not.
func (c *Claims) Attach(ctx context.Context, name string) (*Claim, error) { panic("soon") }

// Info is what List says of a claim.
type Info struct {
	Name, Sandbox, Pool, Run string
	Ready                    bool
	Reason                   string // of its condition Ready
	Created                  time.Time
	Expires                  time.Time // zero: never
	Volumes                  []string  // names of its volume claim templates
}

// List names the claims of the namespace that match a label selector; empty: all of them.
func (c *Claims) List(ctx context.Context, selector string) ([]Info, error) { panic("soon") }

// Delete deletes one claim by name and waits until it is gone.
func (c *Claims) Delete(ctx context.Context, name string) error { panic("soon") }

// DeleteAll deletes what List(selector) names and waits until all are gone; an empty selector means the claims that sbxrun made.
func (c *Claims) DeleteAll(ctx context.Context, selector string) ([]string, error) { panic("soon") }

// GC removes what belongs to lapsed Leases, and nothing else.
func GC(ctx context.Context, cl *cluster.Cluster) (removed []string, err error) { panic("soon") }
