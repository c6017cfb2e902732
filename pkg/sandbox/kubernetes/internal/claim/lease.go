package claim

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/gentype"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

const (
	// leaseDuration is how long a run counts as alive without a renewal.
	leaseDuration = 60 * time.Second
	// leaseRenewal leaves room for three that fail.
	leaseRenewal = 15 * time.Second
	// leaseMargin is what gc adds, for clocks that are a little apart.
	leaseMargin = 10 * time.Second
)

type leases = gentype.ClientWithList[*coordinationv1.Lease, *coordinationv1.LeaseList]

// lease is the run's sign of life, and the owner of everything that it makes: Kubernetes removes what is owned once
// the owner is gone.
type lease struct {
	client *leases
	holder string
	now    func() time.Time
	done   chan struct{} // closed when renewals have ended
	stop   context.CancelFunc

	mu     sync.Mutex
	object *coordinationv1.Lease
	lost   error
}

func (c *Claims) takeLease(ctx context.Context) (*lease, error) {
	client, err := c.o.Cluster.Leases(c.o.Cluster.Namespace)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	l := &lease{client: client, holder: fmt.Sprintf("%s/%d/%s", host, os.Getpid(), c.o.Run.ID), now: c.o.Cluster.Now, done: make(chan struct{})}
	seconds, renewed := int32(leaseDuration.Seconds()), metav1.NewMicroTime(l.now())
	want := &coordinationv1.Lease{
		ObjectMeta: c.named(prefix + c.o.Run.ID),
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: &l.holder, LeaseDurationSeconds: &seconds, AcquireTime: &renewed, RenewTime: &renewed,
		},
	}
	made, err := client.Create(ctx, want, metav1.CreateOptions{})
	made, err = adopt(made, err, want, func() (*coordinationv1.Lease, error) {
		there, err := client.Get(ctx, want.Name, metav1.GetOptions{})
		if err == nil && !l.mine(there) {
			err = apierrors.NewAlreadyExists(coordinationv1.Resource("leases"), want.Name)
		}
		return there, err
	})
	if err != nil {
		if ctx.Err() != nil { // whether it was made nobody knows
			undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			_ = client.Delete(undo, want.Name, metav1.DeleteOptions{}) // else it lapses, and gc finds it
		}
		return nil, cluster.Classify("acquire", "", fmt.Errorf("make the run's lease %s: %w", want.Name, err))
	}
	l.object = made
	ctx, l.stop = context.WithCancel(c.base)
	go l.keep(ctx)
	return l, nil
}

func (l *lease) mine(o *coordinationv1.Lease) bool {
	return o.Spec.HolderIdentity != nil && *o.Spec.HolderIdentity == l.holder
}

func (l *lease) owner() metav1.OwnerReference {
	l.mu.Lock()
	defer l.mu.Unlock()
	return metav1.OwnerReference{
		APIVersion: coordinationv1.SchemeGroupVersion.String(), Kind: "Lease", Name: l.object.Name, UID: l.object.UID,
	}
}

func (l *lease) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

func (l *lease) keep(ctx context.Context) {
	defer close(l.done)
	tick := time.NewTicker(leaseRenewal)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := l.renew(cluster.Patience(ctx, leaseRenewal)); err != nil {
			l.mu.Lock()
			l.lost = err
			l.mu.Unlock()
			return
		}
	}
}

// renew returns an error only where no later renewal can succeed.
func (l *lease) renew(ctx context.Context) error {
	// A connection that hangs must not take the time of the renewals after this one.
	ctx, cancel := context.WithTimeout(ctx, leaseRenewal)
	defer cancel()
	l.mu.Lock()
	next := l.object.DeepCopy()
	l.mu.Unlock()
	renewed := metav1.NewMicroTime(l.now())
	next.Spec.RenewTime = &renewed
	there, err := l.client.Update(ctx, next, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) { // an answer that was lost, or somebody who took it
		if there, err = l.client.Get(ctx, next.Name, metav1.GetOptions{}); err == nil && (there.UID != next.UID || !l.mine(there)) {
			err = apierrors.NewNotFound(coordinationv1.Resource("leases"), next.Name)
		}
	}
	switch {
	case apierrors.IsNotFound(err):
		return &sandbox.Error{Op: "acquire", Kind: sandbox.KindUnavailable, Err: fmt.Errorf(
			"the run's lease %s was not renewed for too long (a machine that slept, or an API server out of reach), and a gc took it: start the run again", next.Name)}
	case apierrors.IsForbidden(err):
		return cluster.Classify("acquire", "", err)
	case err == nil:
		l.mu.Lock()
		l.object = there
		l.mu.Unlock()
	}
	return nil
}

// end stops renewing and removes the Lease.
func (l *lease) end(ctx context.Context) error {
	l.stop()
	<-l.done
	uid := l.owner().UID
	err := l.client.Delete(ctx, l.object.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) { // gone, or already another's
		return nil
	}
	return err
}
