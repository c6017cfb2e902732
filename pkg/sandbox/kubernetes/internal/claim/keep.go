package claim

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	v1beta1 "sigs.k8s.io/agent-sandbox/extensions/api/v1beta1"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// labelKept takes the place of labelRun on what outlives its run.
const labelKept = domain + "kept"

// Keep takes the claim out of its run: the cluster takes it down in d, and neither Release, Close nor gc do before.
// A pool and template of the run's own, and with them the network policy, stay as long as it does.
func (c *Claim) Keep(ctx context.Context, d time.Duration) error {
	if c.pool == nil {
		return c.Extend(ctx, d)
	}
	keep := func(owners []metav1.OwnerReference, spec any) ([]byte, error) {
		return json.Marshal(map[string]any{
			"metadata": map[string]any{
				"labels": map[string]any{labelRun: nil, labelKept: c.claims.o.Run.ID}, "ownerReferences": owners,
			},
			"spec": spec,
		})
	}
	if c.pool.own {
		c.claims.keeping.Lock() // one after the other: each writes all owners that there are
		defer c.claims.keeping.Unlock()
		c.entry.mu.Lock()
		uid := c.entry.uid
		c.entry.mu.Unlock()
		owners := c.keeper(metav1.OwnerReference{
			APIVersion: v1beta1.GroupVersion.String(), Kind: "SandboxClaim", Name: c.Name, UID: uid,
		})
		data, err := keep(owners, struct{}{})
		if err != nil {
			return &sandbox.Error{Op: "keep", ID: c.Name, Err: err}
		}
		if err := c.claims.api.amend(ctx, true, c.pool.name, data); err != nil {
			return cluster.Classify("keep", c.Name, fmt.Errorf("keep its warm pool: %w", err))
		}
		if c.pool.ownTemplate {
			if err := c.claims.api.amend(ctx, false, c.pool.template, data); err != nil {
				return cluster.Classify("keep", c.Name, fmt.Errorf("keep its template: %w", err))
			}
		}
	}
	end := metav1.NewTime(c.claims.o.Cluster.Now().Add(d))
	data, err := keep(nil, map[string]any{"lifecycle": v1beta1.Lifecycle{ShutdownTime: &end, ShutdownPolicy: v1beta1.ShutdownPolicyDeleteForeground}})
	if err != nil {
		return &sandbox.Error{Op: "keep", ID: c.Name, Err: err}
	}
	c.entry.release() // the watch will see it go: it has the run's label no more
	if err := c.claims.api.patch(ctx, c.Name, data); err != nil {
		return cluster.Classify("keep", c.Name, err)
	}
	c.entry.disown()
	c.claims.watch.remove(c.Name)
	c.claims.watch.forget(c.entry)
	return nil
}

// keeper adds an owner to the pool, and returns all of them.
func (c *Claim) keeper(o metav1.OwnerReference) []metav1.OwnerReference {
	c.claims.mu.Lock()
	defer c.claims.mu.Unlock()
	c.pool.keepers = append(c.pool.keepers, o)
	return append([]metav1.OwnerReference(nil), c.pool.keepers...)
}
