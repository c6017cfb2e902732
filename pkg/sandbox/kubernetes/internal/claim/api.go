package claim

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	follow "k8s.io/apimachinery/pkg/watch"
	core "sigs.k8s.io/agent-sandbox/api/v1beta1"
	boxes "sigs.k8s.io/agent-sandbox/clients/k8s/clientset/versioned/typed/api/v1beta1"
	beta "sigs.k8s.io/agent-sandbox/clients/k8s/extensions/clientset/versioned/typed/api/v1beta1"
	v1beta1 "sigs.k8s.io/agent-sandbox/extensions/api/v1beta1"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// api is what is asked of the group extensions.agents.x-k8s.io, in the words of v1beta1.
type api interface {
	claimAPI
	// makeTemplate and makePool find what has the name already where the answer to an earlier try was lost.
	makeTemplate(ctx context.Context, t *v1beta1.SandboxTemplate) error
	template(ctx context.Context, name string) (*v1beta1.SandboxTemplate, error)
	makePool(ctx context.Context, p *v1beta1.SandboxWarmPool) error
	pool(ctx context.Context, name string) (*v1beta1.SandboxWarmPool, error)
	// names lists templates, or pools; with an owner, only what that owns.
	names(ctx context.Context, pools bool, selector string, owner types.UID) ([]string, error)
	remove(ctx context.Context, pools bool, name string) error
}

// boxAPI reads a Sandbox, of the group agents.x-k8s.io.
type boxAPI func(ctx context.Context, name string) (*core.Sandbox, error)

// claimAPI is the part that concerns claims.
type claimAPI interface {
	// create makes a claim on a pool; v1alpha1 wants its template too.
	create(ctx context.Context, c *v1beta1.SandboxClaim, p *pool) (*v1beta1.SandboxClaim, error)
	get(ctx context.Context, name string) (*v1beta1.SandboxClaim, error)
	list(ctx context.Context, o metav1.ListOptions) (*v1beta1.SandboxClaimList, error)
	follow(ctx context.Context, o metav1.ListOptions) (follow.Interface, error)
	// raw is list for whoever takes objects as they come from follow.
	raw(ctx context.Context, o metav1.ListOptions) (runtime.Object, error)
	// claim reads what follow and raw give.
	claim(object any) (*v1beta1.SandboxClaim, error)
	patch(ctx context.Context, name string, data []byte) error // merge patch
	delete(ctx context.Context, name string, uid types.UID) error
	deleteAll(ctx context.Context, selector string) error
}

// firstAnswer is how long a cluster may take for its first answer: an address that leads nowhere should say so soon.
const firstAnswer = 15 * time.Second

// Served is the version of Agent Sandbox's API that claims are made with: one request.
func Served(ctx context.Context, c *cluster.Cluster) (string, error) {
	client, err := c.HTTPClient()
	if err != nil {
		return "", err
	}
	b, err := beta.NewForConfigAndClient(c.Config, client)
	if err != nil {
		return "", cluster.Classify("open", "", err)
	}
	group := v1beta1.GroupVersion.Group
	var there metav1.APIGroup
	err = b.RESTClient().Get().AbsPath("/apis", group).Do(cluster.Patience(ctx, firstAnswer)).Into(&there)
	switch {
	case apierrors.IsNotFound(err):
		return "", &sandbox.Error{Op: "open", Kind: sandbox.KindUnsupported,
			Err: fmt.Errorf("the cluster does not serve %s: %s", group, cluster.Install)}
	case apierrors.IsForbidden(err): // to look; a claim will tell
		return versionBeta, nil
	case err != nil:
		return "", cluster.Classify("open", "", err)
	}
	var versions []string
	for _, v := range there.Versions {
		versions = append(versions, v.Version)
	}
	// v1alpha1 beside v1beta1 is converted to pools that nothing makes.
	for _, v := range []string{versionBeta, versionAlpha} {
		if slices.Contains(versions, v) {
			return v, nil
		}
	}
	return "", &sandbox.Error{Op: "open", Kind: sandbox.KindUnsupported,
		Err: fmt.Errorf("the cluster serves %s as %s, and neither %s nor %s: %s", group, joined(versions), versionBeta, versionAlpha, cluster.Install)}
}

const versionBeta, versionAlpha = "v1beta1", "v1alpha1"

// discover makes clients of the version that is served.
func discover(ctx context.Context, c *cluster.Cluster) (api, boxAPI, error) {
	version, err := Served(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	client, err := c.HTTPClient()
	if err != nil {
		return nil, nil, err
	}
	if version == versionAlpha {
		return newAlpha(c, client)
	}
	s, err := boxes.NewForConfigAndClient(c.Config, client)
	if err != nil {
		return nil, nil, cluster.Classify("open", "", err)
	}
	b, err := beta.NewForConfigAndClient(c.Config, client)
	if err != nil {
		return nil, nil, cluster.Classify("open", "", err)
	}
	return &betaAPI{b.SandboxClaims(c.Namespace), b.SandboxTemplates(c.Namespace), b.SandboxWarmPools(c.Namespace)},
		func(ctx context.Context, name string) (*core.Sandbox, error) {
			return s.Sandboxes(c.Namespace).Get(ctx, name, metav1.GetOptions{})
		}, nil
}

// foreground keeps a claim in the API until its sandbox and pod are gone.
func foreground(uid types.UID) metav1.DeleteOptions {
	policy := metav1.DeletePropagationForeground
	o := metav1.DeleteOptions{PropagationPolicy: &policy}
	if uid != "" {
		o.Preconditions = &metav1.Preconditions{UID: &uid}
	}
	return o
}

// adopt turns "already exists" into the object that exists, if it is the one that was to be made: the answer to the first
// try was lost. Names and labels can be told beforehand, and somebody who may make such objects could wait with one of
// his own; its nonce cannot.
func adopt[T metav1.Object](made T, err error, want metav1.Object, get func() (T, error)) (T, error) {
	if !apierrors.IsAlreadyExists(err) {
		return made, err
	}
	there, getErr := get()
	if getErr != nil {
		return made, getErr
	}
	if nonce := want.GetAnnotations()[annotationNonce]; nonce == "" || there.GetAnnotations()[annotationNonce] != nonce {
		return made, err
	}
	return there, nil
}

type betaAPI struct {
	claims    beta.SandboxClaimInterface
	templates beta.SandboxTemplateInterface
	pools     beta.SandboxWarmPoolInterface
}

func (a *betaAPI) create(ctx context.Context, c *v1beta1.SandboxClaim, p *pool) (*v1beta1.SandboxClaim, error) {
	c.Spec.WarmPoolRef.Name = p.name
	made, err := a.claims.Create(ctx, c, metav1.CreateOptions{})
	return adopt(made, err, c, func() (*v1beta1.SandboxClaim, error) { return a.get(ctx, c.Name) })
}

func (a *betaAPI) get(ctx context.Context, name string) (*v1beta1.SandboxClaim, error) {
	return a.claims.Get(ctx, name, metav1.GetOptions{})
}

func (a *betaAPI) list(ctx context.Context, o metav1.ListOptions) (*v1beta1.SandboxClaimList, error) {
	return a.claims.List(ctx, o)
}

func (a *betaAPI) follow(ctx context.Context, o metav1.ListOptions) (follow.Interface, error) {
	return a.claims.Watch(ctx, o)
}

func (a *betaAPI) raw(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	return a.claims.List(ctx, o)
}

func (a *betaAPI) claim(object any) (*v1beta1.SandboxClaim, error) {
	c, ok := object.(*v1beta1.SandboxClaim)
	if !ok {
		return nil, fmt.Errorf("the watch of claims brought a %T", object)
	}
	return c, nil
}

func (a *betaAPI) patch(ctx context.Context, name string, data []byte) error {
	_, err := a.claims.Patch(ctx, name, types.MergePatchType, data, metav1.PatchOptions{})
	return err
}

func (a *betaAPI) delete(ctx context.Context, name string, uid types.UID) error {
	return a.claims.Delete(ctx, name, foreground(uid))
}

func (a *betaAPI) deleteAll(ctx context.Context, selector string) error {
	return a.claims.DeleteCollection(ctx, foreground(""), metav1.ListOptions{LabelSelector: selector})
}

func (a *betaAPI) makeTemplate(ctx context.Context, t *v1beta1.SandboxTemplate) error {
	made, err := a.templates.Create(ctx, t, metav1.CreateOptions{})
	_, err = adopt(made, err, t, func() (*v1beta1.SandboxTemplate, error) { return a.template(ctx, t.Name) })
	return err
}

func (a *betaAPI) template(ctx context.Context, name string) (*v1beta1.SandboxTemplate, error) {
	return a.templates.Get(ctx, name, metav1.GetOptions{})
}

func (a *betaAPI) makePool(ctx context.Context, p *v1beta1.SandboxWarmPool) error {
	made, err := a.pools.Create(ctx, p, metav1.CreateOptions{})
	_, err = adopt(made, err, p, func() (*v1beta1.SandboxWarmPool, error) { return a.pool(ctx, p.Name) })
	return err
}

func (a *betaAPI) pool(ctx context.Context, name string) (*v1beta1.SandboxWarmPool, error) {
	return a.pools.Get(ctx, name, metav1.GetOptions{})
}

func (a *betaAPI) names(ctx context.Context, pools bool, selector string, owner types.UID) ([]string, error) {
	o := metav1.ListOptions{LabelSelector: selector}
	if pools {
		list, err := a.pools.List(ctx, o)
		return objectNames(list, err, owner)
	}
	list, err := a.templates.List(ctx, o)
	return objectNames(list, err, owner)
}

func (a *betaAPI) remove(ctx context.Context, pools bool, name string) error {
	if pools {
		return a.pools.Delete(ctx, name, metav1.DeleteOptions{})
	}
	return a.templates.Delete(ctx, name, metav1.DeleteOptions{})
}

func objectNames(list runtime.Object, err error, owner types.UID) ([]string, error) {
	if err != nil {
		return nil, err
	}
	var names []string
	err = meta.EachListItem(list, func(o runtime.Object) error {
		m, err := meta.Accessor(o)
		if err != nil {
			return err
		}
		if owner == "" || ownedBy(m, owner) {
			names = append(names, m.GetName())
		}
		return nil
	})
	return names, err
}

// ownedBy says whether o has the owner. Labels are anybody's to write, also into objects and Leases of their own.
func ownedBy(o metav1.Object, owner types.UID) bool {
	return slices.ContainsFunc(o.GetOwnerReferences(), func(r metav1.OwnerReference) bool { return r.UID == owner })
}
