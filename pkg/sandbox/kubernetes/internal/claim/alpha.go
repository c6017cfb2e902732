package claim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	follow "k8s.io/apimachinery/pkg/watch"
	core "sigs.k8s.io/agent-sandbox/api/v1beta1"
	boxes "sigs.k8s.io/agent-sandbox/clients/k8s/clientset/versioned/typed/api/v1alpha1"
	alpha "sigs.k8s.io/agent-sandbox/clients/k8s/extensions/clientset/versioned/typed/api/v1alpha1"
	v1alpha1 "sigs.k8s.io/agent-sandbox/extensions/api/v1alpha1"
	v1beta1 "sigs.k8s.io/agent-sandbox/extensions/api/v1beta1"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// alphaAPI serves clusters whose Agent Sandbox knows v1alpha1 only. Its claims name a template, and perhaps a pool of
// that template; all else has the same shape in JSON.
type alphaAPI struct {
	claims    alpha.SandboxClaimInterface
	templates alpha.SandboxTemplateInterface
	pools     alpha.SandboxWarmPoolInterface
}

func newAlpha(c *cluster.Cluster, client *http.Client) (api, boxAPI, error) {
	a, err := alpha.NewForConfigAndClient(c.Config, client)
	if err != nil {
		return nil, nil, cluster.Classify("open", "", err)
	}
	s, err := boxes.NewForConfigAndClient(c.Config, client)
	if err != nil {
		return nil, nil, cluster.Classify("open", "", err)
	}
	return &alphaAPI{a.SandboxClaims(c.Namespace), a.SandboxTemplates(c.Namespace), a.SandboxWarmPools(c.Namespace)},
		func(ctx context.Context, name string) (*core.Sandbox, error) {
			box, err := s.Sandboxes(c.Namespace).Get(ctx, name, metav1.GetOptions{})
			return reshape[core.Sandbox](box, err)
		}, nil
}

// older is reshape for what is written: a field that v1alpha1 does not know would be lost, and with it perhaps a wall.
func older[To any](from any) (*To, error) {
	data, err := json.Marshal(from)
	if err != nil {
		return nil, err
	}
	to := new(To)
	if err := strict("the cluster's Agent Sandbox serves v1alpha1 only", data, to); err != nil {
		return nil, &sandbox.Error{Op: "acquire", Kind: sandbox.KindUnsupported, Err: fmt.Errorf("%w: %s", err, cluster.Install)}
	}
	return to, nil
}

// reshape carries what two versions have in common from one to the other.
func reshape[To any](from any, err error) (*To, error) {
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(from)
	if err != nil {
		return nil, err
	}
	to := new(To)
	return to, json.Unmarshal(data, to)
}

func (a *alphaAPI) create(ctx context.Context, c *v1beta1.SandboxClaim, p *pool) (*v1beta1.SandboxClaim, error) {
	if len(c.Spec.VolumeClaimTemplates) > 0 {
		return nil, &sandbox.Error{Op: "acquire", ID: c.Name, Kind: sandbox.KindUnsupported, Err: fmt.Errorf(
			"volumes: the cluster's Agent Sandbox serves v1alpha1 only, which has none: put them into the template, or update it: %s", cluster.Install)}
	}
	old, err := reshape[v1alpha1.SandboxClaim](c, nil)
	if err != nil {
		return nil, err
	}
	policy := v1alpha1.WarmPoolPolicyNone
	if !p.own {
		policy = v1alpha1.WarmPoolPolicy(p.name)
	}
	old.Spec.TemplateRef.Name, old.Spec.WarmPool = p.template, &policy
	made, err := a.claims.Create(ctx, old, metav1.CreateOptions{})
	made, err = adopt(made, err, c, func() (*v1alpha1.SandboxClaim, error) {
		return a.claims.Get(ctx, c.Name, metav1.GetOptions{})
	})
	return reshape[v1beta1.SandboxClaim](made, err)
}

func (a *alphaAPI) get(ctx context.Context, name string) (*v1beta1.SandboxClaim, error) {
	c, err := a.claims.Get(ctx, name, metav1.GetOptions{})
	return reshape[v1beta1.SandboxClaim](c, err)
}

func (a *alphaAPI) list(ctx context.Context, o metav1.ListOptions) (*v1beta1.SandboxClaimList, error) {
	l, err := a.claims.List(ctx, o)
	return reshape[v1beta1.SandboxClaimList](l, err)
}

func (a *alphaAPI) follow(ctx context.Context, o metav1.ListOptions) (follow.Interface, error) {
	return a.claims.Watch(ctx, o)
}

func (a *alphaAPI) raw(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	return a.claims.List(ctx, o)
}

func (a *alphaAPI) claim(object any) (*v1beta1.SandboxClaim, error) {
	return reshape[v1beta1.SandboxClaim](object, nil)
}

func (a *alphaAPI) patch(ctx context.Context, name string, data []byte) error {
	_, err := a.claims.Patch(ctx, name, types.MergePatchType, data, metav1.PatchOptions{})
	return err
}

func (a *alphaAPI) delete(ctx context.Context, name string, uid types.UID) error {
	return a.claims.Delete(ctx, name, foreground(uid))
}

func (a *alphaAPI) deleteAll(ctx context.Context, selector string) error {
	return a.claims.DeleteCollection(ctx, foreground(""), metav1.ListOptions{LabelSelector: selector})
}

func (a *alphaAPI) makeTemplate(ctx context.Context, t *v1beta1.SandboxTemplate) error {
	old, err := older[v1alpha1.SandboxTemplate](t)
	if err != nil {
		return err
	}
	made, err := a.templates.Create(ctx, old, metav1.CreateOptions{})
	_, err = adopt(made, err, t, func() (*v1alpha1.SandboxTemplate, error) {
		return a.templates.Get(ctx, t.Name, metav1.GetOptions{})
	})
	return err
}

func (a *alphaAPI) template(ctx context.Context, name string) (*v1beta1.SandboxTemplate, error) {
	t, err := a.templates.Get(ctx, name, metav1.GetOptions{})
	return reshape[v1beta1.SandboxTemplate](t, err)
}

// makePool makes none: a claim of v1alpha1 asks for a template without one.
func (a *alphaAPI) makePool(context.Context, *v1beta1.SandboxWarmPool) error { return nil }

func (a *alphaAPI) pool(ctx context.Context, name string) (*v1beta1.SandboxWarmPool, error) {
	p, err := a.pools.Get(ctx, name, metav1.GetOptions{})
	return reshape[v1beta1.SandboxWarmPool](p, err)
}

func (a *alphaAPI) names(ctx context.Context, pools bool, selector string, owner types.UID) ([]string, error) {
	o := metav1.ListOptions{LabelSelector: selector}
	if pools {
		list, err := a.pools.List(ctx, o)
		return objectNames(list, err, owner)
	}
	list, err := a.templates.List(ctx, o)
	return objectNames(list, err, owner)
}

func (a *alphaAPI) remove(ctx context.Context, pools bool, name string) error {
	if pools {
		return a.pools.Delete(ctx, name, metav1.DeleteOptions{})
	}
	return a.templates.Delete(ctx, name, metav1.DeleteOptions{})
}
