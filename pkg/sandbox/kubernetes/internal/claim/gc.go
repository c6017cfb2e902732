package claim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	v1beta1 "sigs.k8s.io/agent-sandbox/extensions/api/v1beta1"

	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// gcHolder is who holds a Lease while what it owns is removed: a run that still lives finds it taken, and knows.
const gcHolder = "sbxrun gc"

// Run is a run that has a Lease in the cluster: it lives, or did a short while ago.
type Run struct {
	ID      string
	Holder  string    // machine, process and run
	Renewed time.Time // by the server's clock, like Lapses
	Lapses  time.Time // when gc takes what it owns, if it is not renewed
}

// Runs names those of the cluster's namespace. They are what GC leaves alone.
func Runs(ctx context.Context, cl *cluster.Cluster) ([]Run, error) {
	leases, err := cl.Leases(cl.Namespace)
	if err != nil {
		return nil, err
	}
	list, err := leases.List(ctx, metav1.ListOptions{LabelSelector: anyRun})
	if err != nil {
		return nil, cluster.Classify("gc", "", err)
	}
	var runs []Run
	for i := range list.Items {
		l := &list.Items[i]
		r := Run{ID: l.Labels[labelRun]}
		r.Renewed, r.Lapses = term(l)
		if l.Spec.HolderIdentity != nil {
			r.Holder = *l.Spec.HolderIdentity
		}
		runs = append(runs, r)
	}
	return runs, nil
}

// anyRun selects what runs of sbxrun made.
const anyRun = labelManaged + "=" + managed + "," + labelRun

// GC removes what runs left in the cluster's namespace that do not renew their Lease any more, and nothing else. It
// returns what is gone, like "sandboxclaim/NAME". A Lease that is renewed meanwhile is left alone.
func GC(ctx context.Context, cl *cluster.Cluster) (removed []string, err error) {
	api, _, err := discover(ctx, cl)
	if err != nil {
		return nil, err
	}
	leases, err := cl.Leases(cl.Namespace)
	if err != nil {
		return nil, err
	}
	list, err := leases.List(ctx, metav1.ListOptions{LabelSelector: anyRun})
	if err != nil {
		return nil, cluster.Classify("gc", "", err)
	}
	var errs []error
	for i := range list.Items {
		l := &list.Items[i]
		if _, lapses := term(l); !cl.Now().After(lapses) {
			continue
		}
		gone, err := collect(ctx, cl, api, leases, l)
		removed = append(removed, gone...)
		if err != nil {
			errs = append(errs, cluster.Classify("gc", l.Labels[labelRun], err))
		}
	}
	return removed, errors.Join(errs...)
}

// term is when a Lease was renewed and when it lapses, by the server's clock, which both who renews and who asks
// follow.
func term(l *coordinationv1.Lease) (renewed, lapses time.Time) {
	renewed = l.CreationTimestamp.Time
	if l.Spec.RenewTime != nil {
		renewed = l.Spec.RenewTime.Time
	}
	lasts := leaseDuration
	if l.Spec.LeaseDurationSeconds != nil {
		lasts = time.Duration(*l.Spec.LeaseDurationSeconds) * time.Second
	}
	return renewed, renewed.Add(lasts + leaseMargin)
}

// collect takes a lapsed Lease, removes what it owns, and then the Lease.
func collect(ctx context.Context, cl *cluster.Cluster, api api, leases *leases, l *coordinationv1.Lease) (removed []string, err error) {
	run := l.Labels[labelRun]
	holder, now := gcHolder, metav1.NewMicroTime(cl.Now())
	l.Spec.HolderIdentity, l.Spec.RenewTime = &holder, &now
	l, err = leases.Update(ctx, l, metav1.UpdateOptions{}) // only if it is still as it was read
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil, nil // renewed, or somebody else's gc was faster
	}
	if err != nil {
		return nil, err
	}
	names, err := collectClaims(ctx, api, run, l.UID)
	for _, n := range names {
		removed = append(removed, "sandboxclaim/"+n)
	}
	if err != nil {
		return removed, err
	}
	// What a Lease owns Kubernetes removes after it. Doing so here says what it was, where this user may look.
	for _, pools := range []bool{true, false} {
		kind := "sandboxtemplate/"
		if pools {
			kind = "sandboxwarmpool/"
		}
		names, err := api.names(ctx, pools, selector(run), l.UID)
		if err != nil {
			continue
		}
		for _, n := range names {
			if err := api.remove(ctx, pools, n); err == nil {
				removed = append(removed, kind+n)
			}
		}
	}
	if policies, err := cl.NetworkPolicies(cl.Namespace); err == nil {
		list, err := policies.List(ctx, metav1.ListOptions{LabelSelector: selector(run)})
		if err == nil {
			for _, p := range list.Items {
				if !ownedBy(&p, l.UID) {
					continue
				}
				if err := policies.Delete(ctx, p.Name, metav1.DeleteOptions{}); err == nil {
					removed = append(removed, "networkpolicy/"+p.Name)
				}
			}
		}
	}
	err = leases.Delete(ctx, l.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &l.UID, ResourceVersion: &l.ResourceVersion}})
	if err != nil && !apierrors.IsNotFound(err) {
		return removed, err
	}
	return append(removed, "lease/"+l.Name), nil
}

// collectClaims deletes the claims that a run's Lease owns and waits until they are gone.
func collectClaims(ctx context.Context, api api, run string, owner types.UID) ([]string, error) {
	var first []string
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		list, err := api.list(ctx, metav1.ListOptions{LabelSelector: selector(run)})
		if err != nil {
			return nil, err
		}
		owned := slices.DeleteFunc(list.Items, func(c v1beta1.SandboxClaim) bool {
			return !ownedBy(&c, owner)
		})
		if first == nil {
			for _, c := range owned {
				first = append(first, c.Name)
			}
		}
		if len(owned) == 0 {
			return first, nil
		}
		for _, c := range owned {
			if c.DeletionTimestamp != nil {
				continue
			}
			if err := api.delete(ctx, c.Name, c.UID); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				return nil, err
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%d claims of run %s are still there: %w", len(owned), run, context.Cause(ctx))
		case <-time.After(wait):
		}
	}
}
