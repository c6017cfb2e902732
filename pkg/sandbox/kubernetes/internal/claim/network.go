package claim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	v1beta1 "sigs.k8s.io/agent-sandbox/extensions/api/v1beta1"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// Peer is who may connect to a sandbox: pods with these labels in this namespace, or one address.
type Peer struct {
	Namespace string
	Labels    map[string]string
	IP        string // takes the place of Namespace and Labels
}

// defaultRouter is whom Agent Sandbox's own default policy lets in.
var defaultRouter = Peer{Namespace: "agent-sandbox-system", Labels: map[string]string{"app": "sandbox-router"}}

func (p Peer) is(q Peer) bool {
	return p.IP == q.IP && p.Namespace == q.Namespace && maps.Equal(p.Labels, q.Labels)
}

func isolated(n sandbox.Network) bool { return n == sandbox.NetworkNone || n == sandbox.NetworkCase }

// policyFor is what the controller makes of a network for the run's own template. With case it is the same as with
// none: a group's own policy adds to it.
func policyFor(n sandbox.Network, entrances []Peer) (v1beta1.NetworkPolicyManagement, *v1beta1.NetworkPolicySpec) {
	policy := &v1beta1.NetworkPolicySpec{}
	if peers := ingress(entrances); len(peers) > 0 {
		policy.Ingress = []networkingv1.NetworkPolicyIngressRule{{From: peers}}
	}
	switch {
	case n == sandbox.NetworkHost:
		return v1beta1.NetworkPolicyManagementUnmanaged, nil
	case isolated(n):
		return v1beta1.NetworkPolicyManagementManaged, policy
	case !slices.ContainsFunc(entrances, func(p Peer) bool { return !p.is(defaultRouter) }):
		return v1beta1.NetworkPolicyManagementManaged, nil // the controller's default lets the router in
	}
	policy.Egress = []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{
		{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0", Except: []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"}}},
		{IPBlock: &networkingv1.IPBlock{CIDR: "::/0", Except: []string{"fc00::/7", "fe80::/10"}}},
	}}}
	return v1beta1.NetworkPolicyManagementManaged, policy
}

func ingress(entrances []Peer) (peers []networkingv1.NetworkPolicyPeer) {
	for _, p := range entrances {
		if p.IP != "" {
			bits := "/32"
			if strings.Contains(p.IP, ":") {
				bits = "/128"
			}
			peers = append(peers, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: p.IP + bits}})
			continue
		}
		peers = append(peers, networkingv1.NetworkPolicyPeer{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": p.Namespace}},
			PodSelector:       &metav1.LabelSelector{MatchLabels: p.Labels},
		})
	}
	return peers
}

// checkNetwork refuses a network that somebody else's template does not promise.
func (c *Claims) checkNetwork(ctx context.Context, n sandbox.Network, template string) error {
	if !isolated(n) {
		return nil
	}
	t, err := c.api.template(ctx, template)
	if apierrors.IsNotFound(err) {
		return c.notThere(ctx, false, template)
	}
	if err != nil {
		return err
	}
	if why := opens(&t.Spec); why != "" {
		return &sandbox.Error{Op: "acquire", Kind: sandbox.KindUnsupported, Err: fmt.Errorf(
			"network: %s cannot be had with template %q: %s; write into its spec `networkPolicy: {ingress: [{from: [...]}]}` with who may connect to it, "+
				"and no egress, or use image or spec", n, template, why)}
	}
	return nil
}

// opens says by what a template lets out more than answers, or lets anyone in; empty: by nothing.
func opens(t *v1beta1.SandboxTemplateSpec) string {
	switch {
	case t.PodTemplate.Spec.HostNetwork:
		return "its pods are in the node's network"
	case t.NetworkPolicyManagement == v1beta1.NetworkPolicyManagementUnmanaged:
		return "its networkPolicyManagement is Unmanaged"
	case t.NetworkPolicy == nil:
		return "it has no networkPolicy, and the default one lets sandboxes connect to the internet"
	case len(t.NetworkPolicy.Egress) > 0:
		return "its networkPolicy has egress rules"
	}
	for _, rule := range t.NetworkPolicy.Ingress {
		if len(rule.From) == 0 || slices.ContainsFunc(rule.From, everyone) {
			return "its networkPolicy lets everyone in, or every pod of the namespace"
		}
	}
	return ""
}

// everyone says whether a peer is anybody at all, or every pod of the sandboxes' namespace: other sandboxes are there.
func everyone(p networkingv1.NetworkPolicyPeer) bool {
	if p.IPBlock != nil {
		return strings.HasSuffix(p.IPBlock.CIDR, "/0")
	}
	empty := func(s *metav1.LabelSelector) bool { return s == nil || len(s.MatchLabels)+len(s.MatchExpressions) == 0 }
	return empty(p.PodSelector) && empty(p.NamespaceSelector)
}

// group are the sandboxes of one sample that reach each other. Its policy comes with its second member: one alone
// has nobody to reach.
type group struct {
	mu      sync.Mutex
	members int
	policy  bool
	left    bool // by its last member: every sample has a group, and they are not kept
}

// join counts a member of the Spec's group in, and returns the value of its pods' label; empty: no group.
func (c *Claims) join(ctx context.Context, spec sandbox.Spec) (string, error) {
	if spec.Network != sandbox.NetworkCase {
		return "", nil
	}
	name := c.groupName(spec.Group)
	g := c.group(name)
	defer g.mu.Unlock()
	g.members++
	if g.members < 2 || g.policy {
		return name, nil
	}
	if err := c.connect(ctx, name); err != nil {
		g.members--
		return "", cluster.Classify("acquire", "", fmt.Errorf("make the policy that connects the sandboxes of a sample: %w", err))
	}
	g.policy = true
	return name, nil
}

// groupName is what pods of a group carry. Policies know pods by their labels alone, whichever run's they are: samples
// of two runs of one recipe must not share a name, and nobody else must be able to tell it beforehand.
func (c *Claims) groupName(group string) string { return digest([]byte(c.secret + "/" + group)) }

// group returns a group, made if there is none, with its lock held.
func (c *Claims) group(name string) *group {
	for {
		c.mu.Lock()
		g := c.groups[name]
		if g == nil {
			g = &group{}
			c.groups[name] = g
		}
		c.mu.Unlock()
		g.mu.Lock()
		if !g.left {
			return g
		}
		g.mu.Unlock() // its last member has just left, and it is not in groups any more
	}
}

// connect lets the members of a group reach each other. Policies add up: what each member's own denies, this allows.
func (c *Claims) connect(ctx context.Context, group string) error {
	policies, err := c.o.Cluster.NetworkPolicies(c.o.Cluster.Namespace)
	if err != nil {
		return err
	}
	members := metav1.LabelSelector{MatchLabels: map[string]string{labelGroup: group}}
	peer := []networkingv1.NetworkPolicyPeer{{PodSelector: &members}}
	want := &networkingv1.NetworkPolicy{ObjectMeta: c.owned(c.groupPolicy(group)), Spec: networkingv1.NetworkPolicySpec{
		PodSelector: members,
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
		Ingress:     []networkingv1.NetworkPolicyIngressRule{{From: peer}},
		Egress:      []networkingv1.NetworkPolicyEgressRule{{To: peer}},
	}}
	made, err := policies.Create(ctx, want, metav1.CreateOptions{})
	_, err = adopt(made, err, want, func() (*networkingv1.NetworkPolicy, error) {
		return policies.Get(ctx, want.Name, metav1.GetOptions{})
	})
	return err
}

func (c *Claims) groupPolicy(group string) string { return prefix + c.o.Run.ID + "-g" + group }

// part counts a member out. The last one takes the policy with it.
func (c *Claims) part(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	c.mu.Lock()
	g := c.groups[name]
	c.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.members--; g.members > 0 {
		return nil
	}
	if g.policy {
		if err := c.disconnect(ctx, name); err != nil {
			return err // Close tries again
		}
		g.policy = false
	}
	g.left = true
	c.mu.Lock()
	delete(c.groups, name)
	c.mu.Unlock()
	return nil
}

func (c *Claims) disconnect(ctx context.Context, group string) error {
	policies, err := c.o.Cluster.NetworkPolicies(c.o.Cluster.Namespace)
	if err != nil {
		return err
	}
	err = persist(ctx, func() error { return policies.Delete(ctx, c.groupPolicy(group), metav1.DeleteOptions{}) })
	if apierrors.IsNotFound(err) {
		return nil
	}
	return cluster.Classify("release", "", err)
}

// closeGroups removes the policies of groups whose members were not released one by one.
func (c *Claims) closeGroups(ctx context.Context) error {
	c.mu.Lock()
	groups := maps.Clone(c.groups)
	c.mu.Unlock()
	var errs []error
	for name, g := range groups {
		g.mu.Lock()
		if g.policy {
			err := c.disconnect(ctx, name)
			g.policy = err != nil
			errs = append(errs, err)
		}
		g.mu.Unlock()
	}
	return errors.Join(errs...)
}
