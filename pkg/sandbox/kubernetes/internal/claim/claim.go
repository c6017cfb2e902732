// Package claim takes sandboxes from Agent Sandbox and gives them back: claims and the run's one watch of them, the
// Lease that owns what a run makes, templates, pools and network policies of the run's own, and the removal of what
// dead runs left. How to reach a sandbox belongs in connect, what to say to it in runtime and shell.
package claim

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// Request is what Acquire needs.
type Request struct {
	Spec sandbox.Spec
	// Lifetime is when the cluster itself takes the sandbox down, counted from now: the acquire limit, the sample's timeout
	// and the grace for its end.
	Lifetime time.Duration
	// Ports are those that the sandbox's runtime may listen on: they tell its container from others of the pod.
	Ports []int
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
	// ExecOnly is true where the run's own template starts nothing but a wait: only runtime exec can work in it.
	ExecOnly bool

	claims *Claims
	entry  *entry
	pool   *pool     // nil: attached
	since  time.Time // when it was ready, by the server's clock
	ports  []int     // of Request

	left  sync.Once
	group string // whose policy it is under
}

// leaveGroup returns the group, once.
func (c *Claim) leaveGroup() string {
	group := ""
	c.left.Do(func() { group = c.group })
	return group
}

// Attached is true of a claim of Attach.
func (c *Claim) Attached() bool { return c.pool == nil }

// End says what became of a sandbox that is gone.
type End struct {
	// Died is true where the container's first process ended by itself or by a limit: the code under test did that.
	// Otherwise somebody else took the sandbox: deleted, evicted, expired.
	Died bool
	OOM  bool // it was killed for memory
	Disk bool // it was evicted for more on its disk than its own limit
	Exit int  // the exit status of the first process, 128 and the signal's number where one killed it
}

// Gone closes when the sandbox is gone: deleted, expired, evicted, ended, or its pod replaced by another. It never
// closes for attached claims, nor by Release.
func (c *Claim) Gone() <-chan struct{} { return c.entry.gone }

// Cause says why Gone is closed: an *sandbox.Error of KindLost. nil before.
func (c *Claim) Cause() error {
	_, cause := c.entry.fate()
	return cause
}

// End says more than Cause does.
func (c *Claim) End() End {
	end, _ := c.entry.fate()
	return end
}

// Inspect asks the cluster now what became of the pod, for callers who lost contact before the watch knew: nil where
// nothing is wrong that can be seen, else Cause, and Gone is closed. One request.
func (c *Claim) Inspect(ctx context.Context) error {
	if cause := c.Cause(); cause != nil {
		return cause
	}
	if reason, end := c.inspect(ctx); reason != "" {
		c.entry.lose(reason, end)
	}
	return c.Cause()
}

// Extend moves the end of the claim's life to d from now.
func (c *Claim) Extend(ctx context.Context, d time.Duration) error {
	patch := map[string]any{"spec": map[string]any{"lifecycle": map[string]any{
		"shutdownTime": metav1.NewTime(c.claims.o.Cluster.Now().Add(d)),
	}}}
	data, err := json.Marshal(patch)
	if err != nil {
		return &sandbox.Error{Op: "extend", ID: c.Name, Err: err}
	}
	return cluster.Classify("extend", c.Name, c.claims.api.patch(ctx, c.Name, data))
}

// Service says whether the sandbox has a Service of its own, and so a name in the cluster's DNS. It makes one request.
func (c *Claim) Service(ctx context.Context) (bool, error) {
	if c.pool != nil && c.pool.service {
		return true, nil
	}
	box, err := c.claims.box(ctx, c.Sandbox)
	if err != nil {
		return false, cluster.Classify("acquire", c.Name, fmt.Errorf("ask whether the sandbox has a Service: %w", err))
	}
	return box.Status.Service != "" || box.Status.ServiceFQDN != "", nil
}
