package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// need is what a feature asks the API server to be allowed to do.
type need struct {
	feature         string
	verbs           []string
	group, resource string // with its subresource after a slash
	namespace       string
}

// needs are the permissions of the options' connection first, then those of features that a recipe may use. The
// manifests in deploy/ give the same.
func needs(o Options, namespace string) []need {
	const extensions = "extensions.agents.x-k8s.io"
	list := []need{
		{"sandboxes", []string{"create", "get", "list", "watch", "delete", "deletecollection"}, extensions, "sandboxclaims", namespace},
		{"sandboxes", []string{"create", "get", "update", "delete"}, "coordination.k8s.io", "leases", namespace},
	}
	switch o.Connection {
	case ConnectionTunnel:
		list = append(list,
			need{"--connection tunnel", []string{"create"}, "", "pods/portforward", o.RouterNamespace},
			need{"--connection tunnel", []string{"list"}, "discovery.k8s.io", "endpointslices", o.RouterNamespace})
	case ConnectionGateway:
		list = append(list, need{"--connection gateway", []string{"get", "watch"}, "gateway.networking.k8s.io", "gateways", o.GatewayNamespace})
	case ConnectionInCluster:
		if o.named() {
			list = append(list, need{"--connection in-cluster without --pod-ip", []string{"get"}, "agents.x-k8s.io", "sandboxes", namespace})
		}
	}
	return append(list,
		need{"template", []string{"create", "get", "delete"}, extensions, "sandboxwarmpools", namespace},
		need{"image and spec", []string{"create", "get", "delete"}, extensions, "sandboxtemplates", namespace},
		need{"network case", []string{"create", "get", "delete"}, "networking.k8s.io", "networkpolicies", namespace},
		need{"pool.reuse", []string{"patch"}, extensions, "sandboxclaims", namespace},
		need{"runtime exec", []string{"create"}, "", "pods/exec", namespace},
		need{"runtime sandboxd", []string{"create"}, "", "pods/portforward", namespace},
		need{"reasons of pods that do not start", []string{"get"}, "", "pods", namespace},
		need{"reasons of pods that do not start", []string{"list"}, "", "events", namespace},
	)
}

// permissions asks the API server what of needs is not given, one finding for each feature that is not there.
func permissions(ctx context.Context, c *cluster.Cluster, o Options) []sandbox.Finding {
	ctx, cancel := context.WithTimeout(ctx, examineTimeout)
	defer cancel()
	list := needs(o, c.Namespace)
	missing := map[string][]string{} // by feature, as sentences
	for _, n := range list {
		var refused []string
		for _, verb := range n.verbs {
			allowed, err := allowed(ctx, c, n, verb)
			if err != nil {
				return []sandbox.Finding{{Name: "permissions", State: sandbox.Weaker, Detail: "cannot be looked up: " + err.Error(), Remedy: "see deploy/rbac"}}
			}
			if !allowed {
				refused = append(refused, verb)
			}
		}
		if len(refused) > 0 {
			missing[n.feature] = append(missing[n.feature], fmt.Sprintf("%s %s in %s", strings.Join(refused, ", "), n.resource, n.namespace))
		}
	}
	if len(missing) == 0 {
		return []sandbox.Finding{{Name: "permissions", State: sandbox.OK, Detail: "all that recipes can ask for"}}
	}
	var findings []sandbox.Finding
	for _, n := range list {
		lacks, ok := missing[n.feature]
		if !ok {
			continue
		}
		delete(missing, n.feature)
		f := sandbox.Finding{
			Name: "permissions", State: sandbox.Weaker, Detail: fmt.Sprintf("for %s the user may not %s", n.feature, strings.Join(lacks, "; ")),
			Remedy: "give the user the rules of deploy/rbac for it, if recipes need it",
		}
		if n.feature == "sandboxes" {
			f.State = sandbox.Blocked
		}
		findings = append(findings, f)
	}
	return findings
}

// allowed asks by SelfSubjectAccessReview, which every user may make.
func allowed(ctx context.Context, c *cluster.Cluster, n need, verb string) (bool, error) {
	type attributes struct {
		Namespace   string `json:"namespace"`
		Verb        string `json:"verb"`
		Group       string `json:"group"`
		Resource    string `json:"resource"`
		Subresource string `json:"subresource,omitempty"`
	}
	type review struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Spec       struct {
			Attributes attributes `json:"resourceAttributes"`
		} `json:"spec"`
		Status struct {
			Allowed bool `json:"allowed"`
		} `json:"status,omitzero"`
	}
	r := review{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"}
	r.Spec.Attributes = attributes{Namespace: n.namespace, Verb: verb, Group: n.group}
	r.Spec.Attributes.Resource, r.Spec.Attributes.Subresource, _ = strings.Cut(n.resource, "/")
	body, err := json.Marshal(r)
	if err != nil {
		return false, err
	}
	answer, err := c.Post(ctx, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(answer, &r); err != nil {
		return false, fmt.Errorf("the API server's answer: %w", err)
	}
	return r.Status.Allowed, nil
}
