package claim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	core "sigs.k8s.io/agent-sandbox/api/v1beta1"
	v1beta1 "sigs.k8s.io/agent-sandbox/extensions/api/v1beta1"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// pool is where the claims of one kind of Spec come from.
type pool struct {
	name        string // of the SandboxWarmPool
	from        string // what the recipe says, for messages
	template    string // of its SandboxTemplate; empty where that did not have to be found out
	own         bool   // the run made the pool
	ownTemplate bool   // and the template
	container   string // of own templates
	execOnly    bool   // its container only waits
	service     bool   // its sandboxes have a Service
}

// poolOf returns the pool of a Spec. What the run makes itself it makes once for all that are alike.
func (c *Claims) poolOf(ctx context.Context, spec sandbox.Spec) (*pool, error) {
	key, err := poolKey(spec)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	p := c.pools[key]
	c.mu.Unlock()
	if p != nil {
		return p, nil
	}
	return shared(ctx, c, "pool "+key, func(ctx context.Context) (*pool, error) {
		p, err := c.makePool(ctx, spec, key)
		if err != nil {
			return nil, cluster.Classify("acquire", "", err)
		}
		c.mu.Lock()
		c.pools[key] = p
		c.mu.Unlock()
		return p, nil
	})
}

// poolKey is the same for Specs that can share a pool.
func poolKey(spec sandbox.Spec) (string, error) {
	k := spec.Cluster
	source := struct {
		WarmPool, Template, Image string
		Spec                      []byte
		Runtime                   string
		Port                      int
		Network                   sandbox.Network
		Volumes                   bool // the template has to allow them
		Limits                    *sandbox.Limits
	}{WarmPool: k.WarmPool, Template: k.Template, Network: spec.Network}
	switch n := countSet(k.WarmPool != "", k.Template != "", k.Image != "", len(k.Spec) > 0); {
	case n == 0:
		return "", &sandbox.Error{Op: "acquire", Kind: sandbox.KindUnsupported, Err: errors.New(
			"the recipe says no warmpool, template, image or spec for this sandbox, and neither do --warmpool, --template or --image")}
	case n > 1:
		return "", &sandbox.Error{Op: "acquire", Kind: sandbox.KindUnsupported, Err: errors.New("only one of warmpool, template, image and spec can be said")}
	}
	if k.Image != "" || len(k.Spec) > 0 {
		source.Image, source.Spec, source.Runtime, source.Port, source.Limits = k.Image, k.Spec, k.Runtime, k.Port, &spec.Limits
		source.Volumes = len(k.Volumes) > 0
	}
	data, err := json.Marshal(source)
	if err != nil {
		return "", &sandbox.Error{Op: "acquire", Err: err}
	}
	return digest(data), nil
}

func countSet(set ...bool) (n int) {
	for _, s := range set {
		if s {
			n++
		}
	}
	return n
}

func (c *Claims) makePool(ctx context.Context, spec sandbox.Spec, key string) (*pool, error) {
	k := spec.Cluster
	if k.WarmPool != "" {
		p := &pool{name: k.WarmPool, from: fmt.Sprintf("warm pool %q", k.WarmPool)}
		_, old := c.api.(*alphaAPI)
		if old || isolated(spec.Network) {
			there, err := c.api.pool(ctx, k.WarmPool)
			if apierrors.IsNotFound(err) {
				return nil, c.notThere(ctx, true, k.WarmPool)
			}
			if err != nil {
				return nil, err
			}
			p.template = there.Spec.TemplateRef.Name
		}
		return p, c.checkNetwork(ctx, spec.Network, p.template)
	}
	p := &pool{name: prefix + c.o.Run.ID + "-p" + key, template: k.Template, own: true, ownTemplate: k.Template == ""}
	switch {
	case k.Template != "":
		p.from = fmt.Sprintf("template %q", k.Template)
	case k.Image != "":
		p.from = fmt.Sprintf("image %q", k.Image)
	default:
		p.from = "the recipe's spec"
	}
	if k.Template != "" {
		if err := c.checkNetwork(ctx, spec.Network, k.Template); err != nil {
			return nil, err
		}
	} else {
		want, err := c.templateSpec(spec)
		if err != nil {
			return nil, &sandbox.Error{Op: "acquire", Kind: sandbox.KindInvalid, Err: err}
		}
		p.template, p.service = p.name, want.Service != nil && *want.Service
		p.execOnly = k.Image != "" && waits(k.Runtime)
		if k.Image != "" {
			p.container = containerName
		}
		c.owe(p)
		if err := c.api.makeTemplate(ctx, &v1beta1.SandboxTemplate{ObjectMeta: c.owned(p.name), Spec: *want}); err != nil {
			return nil, c.unmade("template", p, err)
		}
	}
	c.owe(p)
	none := int32(0)
	err := c.api.makePool(ctx, &v1beta1.SandboxWarmPool{ObjectMeta: c.owned(p.name), Spec: v1beta1.SandboxWarmPoolSpec{
		Replicas: &none, TemplateRef: v1beta1.SandboxTemplateRef{Name: p.template},
	}})
	if err != nil {
		return nil, c.unmade("warm pool", p, err)
	}
	if p.ownTemplate {
		c.seen(ctx, p.template)
	}
	return p, nil
}

// owe makes Close remove what is about to be made, whatever becomes of the making.
func (c *Claims) owe(p *pool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made[p.name] = p
}

// unmade is the error of what could not be made. What has its name and is somebody else's is not owed.
func (c *Claims) unmade(what string, p *pool, err error) error {
	if apierrors.IsAlreadyExists(err) {
		c.mu.Lock()
		delete(c.made, p.name)
		c.mu.Unlock()
	}
	return fmt.Errorf("make %s %s: %w", what, p.name, err)
}

// seen waits, not for long, until the controller has seen a template: it labels it. A claim that it sees earlier it
// looks at again in a minute only.
func (c *Claims) seen(ctx context.Context, template string) {
	for wait := 10 * time.Millisecond; wait < time.Second; wait *= 2 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		t, err := c.api.template(cluster.Patience(ctx, 0), template)
		if err != nil || t.Labels[core.SandboxTemplateRefHashLabel] != "" {
			return
		}
	}
}

func (c *Claims) notThere(ctx context.Context, pool bool, name string) error {
	what := "template"
	if pool {
		what = "warm pool"
	}
	return &sandbox.Error{Op: "acquire", Kind: sandbox.KindUnsupported, Err: fmt.Errorf(
		"there is no %s %q in namespace %q%s", what, name, c.o.Cluster.Namespace, c.instead(ctx, pool, name))}
}

// closePools removes the run's own pools and templates; the policies that the controller made for them follow.
func (c *Claims) closePools(ctx context.Context) error {
	c.mu.Lock()
	own := slices.Collect(maps.Values(c.made))
	c.mu.Unlock()
	var removals errgroup.Group
	removals.SetLimit(parallel) // a recipe may have an image for each case
	errs := make([]error, len(own))
	for i, p := range own {
		removals.Go(func() error {
			errs[i] = c.remove(ctx, true, p.name)
			if p.ownTemplate {
				errs[i] = errors.Join(errs[i], c.remove(ctx, false, p.template))
			}
			return nil
		})
	}
	_ = removals.Wait() // the errors are in errs
	return errors.Join(errs...)
}

func (c *Claims) remove(ctx context.Context, pool bool, name string) error {
	err := persist(ctx, func() error { return c.api.remove(ctx, pool, name) })
	if apierrors.IsNotFound(err) {
		return nil
	}
	return cluster.Classify("close", name, err)
}
