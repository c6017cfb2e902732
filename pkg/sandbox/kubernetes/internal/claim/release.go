package claim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// Release deletes the claim and returns when the watch has seen it gone, and with it its sandbox and pod. An API
// server that is away is waited for as long as ctx lets it. The error names what is still there. Safe to call twice.
func (c *Claims) Release(ctx context.Context, cl *Claim) error {
	if cl.pool == nil {
		return c.Delete(ctx, cl.Name)
	}
	return errors.Join(c.takeDown(ctx, cl.entry), c.part(ctx, cl.leaveGroup()))
}

// takeDown is Release without the group.
func (c *Claims) takeDown(ctx context.Context, e *entry) error {
	e.release()
	if err := c.order(ctx, e); err != nil {
		return err
	}
	return c.down(ctx, e)
}

// down waits until the API has the claim no more.
func (c *Claims) down(ctx context.Context, e *entry) error {
	for {
		now, deleted, news := e.look()
		if deleted {
			c.watch.forget(e)
			return nil
		}
		watchNews, refused := c.watch.err()
		var poll <-chan time.Time
		if refused != nil { // nobody watches: ask
			if _, err := c.api.get(ctx, e.name); apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
				e.remove()
				continue
			}
			poll = time.After(time.Second)
		}
		select {
		case <-news:
		case <-watchNews:
		case <-poll:
		case <-ctx.Done():
			state := "its deletion was ordered, and is not confirmed"
			if now != nil && now.DeletionTimestamp != nil {
				state = fmt.Sprintf("its sandbox or pod still ends (since %s)", now.DeletionTimestamp.UTC().Format(time.RFC3339))
			}
			return &sandbox.Error{Op: "release", ID: e.name, Kind: sandbox.KindUnavailable,
				Err: fmt.Errorf("claim %s/%s: %s: %w", c.o.Cluster.Namespace, e.name, state, context.Cause(ctx))}
		}
	}
}

// order deletes the claim, again and again while the API server is away.
func (c *Claims) order(ctx context.Context, e *entry) error {
	e.mu.Lock()
	uid, ordered := e.uid, e.ordered
	e.mu.Unlock()
	if ordered {
		return nil
	}
	err := persist(ctx, func() error { return c.api.delete(ctx, e.name, uid) })
	switch {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err): // gone, or gone and another's
		e.remove()
		return nil
	case err != nil:
		return cluster.Classify("release", e.name, fmt.Errorf("delete claim %s/%s: %w", c.o.Cluster.Namespace, e.name, err))
	}
	e.mu.Lock()
	e.ordered = true
	e.mu.Unlock()
	return nil
}

// persist repeats what fails because the API server is away, until ctx ends.
func persist(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil || ctx.Err() != nil || sandbox.KindOf(cluster.Classify("", "", err)) != sandbox.KindUnavailable || apierrors.IsConflict(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

// discardLimit is how long a cancelled Acquire may take to delete what it began. Close waits for the rest.
const discardLimit = 30 * time.Second

// discard deletes a claim that nobody will use. It does not wait for the pod to end: Close does.
func (c *Claims) discard(ctx context.Context, e *entry, group string) error {
	ctx, cancel := context.WithTimeout(ctx, discardLimit)
	defer cancel()
	e.release()
	err := c.order(ctx, e)
	if _, deleted, _ := e.look(); deleted {
		c.watch.forget(e)
	}
	return errors.Join(err, c.part(ctx, group))
}

// parallel is how many deletions Close has under way.
const parallel = 16

// Close releases what is left and everything else that the run made: claims, pools, templates, policies, the Lease last.
// Acquires that wait end. The error names what could not be taken down. After an error it may be called again.
func (c *Claims) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	w, l := c.watch, c.lease
	c.mu.Unlock()
	if l == nil {
		c.stop()
		return nil
	}
	c.close(errClosed)
	c.busy.Wait()
	errs := []error{c.closeClaims(ctx, w)}
	if errs[0] == nil {
		errs = append(errs, c.closePools(ctx), c.closeGroups(ctx))
		if err := errors.Join(errs...); err == nil {
			errs = append(errs, cluster.Classify("close", "", persist(ctx, func() error { return l.end(ctx) })))
		}
	}
	err := errors.Join(errs...)
	if err == nil {
		c.stop()
		<-w.stopped
		c.mu.Lock()
		c.lease = nil
		c.mu.Unlock()
	}
	return err
}

// closeClaims deletes one by one what is known, and then by label what is not: a create whose answer never came.
func (c *Claims) closeClaims(ctx context.Context, w *watch) error {
	w.mu.Lock()
	known := slices.Collect(maps.Values(w.entries))
	w.mu.Unlock()
	var orders errgroup.Group
	orders.SetLimit(parallel)
	errs := make([]error, len(known))
	for i, e := range known {
		orders.Go(func() error {
			e.release()
			errs[i] = c.order(ctx, e)
			return nil
		})
	}
	_ = orders.Wait() // the errors are in errs
	err := errors.Join(errs...)
	if sweep := persist(ctx, func() error { return c.api.deleteAll(ctx, selector(c.o.Run.ID)) }); sweep != nil && err != nil {
		return errors.Join(err, cluster.Classify("close", "", sweep))
	}
	errs = errs[:0]
	for _, e := range known {
		errs = append(errs, c.down(ctx, e))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for {
		names, news := w.left()
		if len(names) == 0 {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return &sandbox.Error{Op: "close", Kind: sandbox.KindUnavailable, Err: fmt.Errorf(
				"these claims in namespace %s are still there: %s (`sbxrun gc --provider kubernetes` removes what stays): %w",
				c.o.Cluster.Namespace, strings.Join(names, ", "), context.Cause(ctx))}
		}
	}
}
