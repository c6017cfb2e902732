package claim

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	v1beta1 "sigs.k8s.io/agent-sandbox/extensions/api/v1beta1"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// Info is what List says of a claim.
type Info struct {
	Name    string
	Sandbox string // empty: none yet
	Pool    string
	Run     string // empty: not made by sbxrun
	Ready   bool
	Reason  string // of its condition Ready
	Created time.Time
	Expires time.Time // zero: never
	Volumes []string  // names of its volume claim templates
	Labels  map[string]string
}

// List names the claims of the namespace that match a label selector; empty: all of them.
func (c *Claims) List(ctx context.Context, selector string) ([]Info, error) {
	list, err := c.api.list(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, cluster.Classify("list", "", err)
	}
	infos := make([]Info, 0, len(list.Items))
	for i := range list.Items {
		infos = append(infos, info(&list.Items[i]))
	}
	return infos, nil
}

func info(c *v1beta1.SandboxClaim) Info {
	i := Info{
		Name: c.Name, Sandbox: c.Status.SandboxStatus.Name, Pool: c.Spec.WarmPoolRef.Name, Run: c.Labels[labelRun],
		Ready: isReady(c), Created: c.CreationTimestamp.Time, Labels: c.Labels,
	}
	if r := readiness(c); r != nil {
		i.Reason = r.Reason
	}
	if l := c.Spec.Lifecycle; l != nil && l.ShutdownTime != nil {
		i.Expires = l.ShutdownTime.Time
	}
	for _, v := range c.Spec.VolumeClaimTemplates {
		i.Volumes = append(i.Volumes, v.Name)
	}
	return i
}

// Attach finds a claim that is ready, of whatever run or program. Release deletes it; Close leaves it alone.
func (c *Claims) Attach(ctx context.Context, name string) (*Claim, error) {
	now, err := c.api.get(ctx, name)
	if apierrors.IsNotFound(err) {
		return nil, &sandbox.Error{Op: "attach", ID: name, Kind: sandbox.KindNotFound,
			Err: fmt.Errorf("there is no claim %q in namespace %q", name, c.o.Cluster.Namespace)}
	}
	if err != nil {
		return nil, cluster.Classify("attach", name, err)
	}
	if !isReady(now) {
		return nil, &sandbox.Error{Op: "attach", ID: name, Kind: sandbox.KindUnavailable, Err: fmt.Errorf("it is not ready: %s", info(now).Reason)}
	}
	e := newEntry(name)
	e.made(now)
	return &Claim{
		Name: now.Name, Namespace: now.Namespace, Sandbox: now.Status.SandboxStatus.Name,
		Pod: now.Status.SandboxStatus.Name, PodIPs: now.Status.SandboxStatus.PodIPs, Pool: now.Spec.WarmPoolRef.Name,
		claims: c, entry: e, since: c.o.Cluster.Now(),
	}, nil
}

// Delete deletes one claim, whoever made it, and returns when its sandbox and pod are gone.
func (c *Claims) Delete(ctx context.Context, name string) error {
	err := persist(ctx, func() error { return c.api.delete(ctx, name, "") })
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return cluster.Classify("delete", name, err)
	}
	return c.wentAway(ctx, name)
}

// wentAway asks until the claim is gone. The run's watch does not see what is not the run's.
func (c *Claims) wentAway(ctx context.Context, name string) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		_, err := c.api.get(ctx, name)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil && ctx.Err() == nil && sandbox.KindOf(cluster.Classify("", "", err)) != sandbox.KindUnavailable {
			return cluster.Classify("delete", name, err)
		}
		select {
		case <-ctx.Done():
			return &sandbox.Error{Op: "delete", ID: name, Kind: sandbox.KindUnavailable,
				Err: fmt.Errorf("its deletion was ordered, and is not confirmed: %w", context.Cause(ctx))}
		case <-time.After(wait):
		}
	}
}

// DeleteAll deletes the claims that match a label selector, and returns their names when all are gone. An empty
// selector means those that sbxrun made, of all runs.
func (c *Claims) DeleteAll(ctx context.Context, selector string) ([]string, error) {
	if selector == "" {
		selector = labelManaged + "=" + managed
	}
	infos, err := c.List(ctx, selector)
	if err != nil || len(infos) == 0 {
		return nil, err
	}
	if err := persist(ctx, func() error { return c.api.deleteAll(ctx, selector) }); err != nil {
		return nil, cluster.Classify("delete", "", err)
	}
	var names []string
	var errs []error
	for _, i := range infos {
		err := c.wentAway(ctx, i.Name)
		if err == nil {
			names = append(names, i.Name)
		}
		errs = append(errs, err)
	}
	return names, errors.Join(errs...)
}
