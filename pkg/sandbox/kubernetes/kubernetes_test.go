package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/claim"
)

// What a sandbox really does is shown by the conformance suite of test/e2e, on a cluster.

func TestComplete(t *testing.T) {
	said := sandbox.Spec{Cluster: sandbox.Cluster{Template: "mine"}}
	for _, test := range []struct {
		name     string
		from     Source
		spec     sandbox.Spec
		template string
		image    string
		fails    bool
	}{
		{name: "the recipe's own", from: Source{Image: "i"}, spec: said, template: "mine"},
		{name: "the default", from: Source{Image: "i"}, image: "i"},
		{name: "nothing", fails: true},
	} {
		got, err := Options{Default: test.from}.complete(test.spec)
		if test.fails {
			if sandbox.KindOf(err) != sandbox.KindUnsupported || !strings.Contains(err.Error(), "--warmpool") {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		if err != nil || got.Cluster.Template != test.template || got.Cluster.Image != test.image {
			t.Errorf("%s: %+v, %v", test.name, got.Cluster, err)
		}
	}
}

// The zero Options work, and a sandbox outlives all that it may be needed for.
func TestDefaults(t *testing.T) {
	o := Options{}.withDefaults()
	if o.Connection != ConnectionTunnel || o.RouterNamespace != DefaultRouterNamespace || o.named() {
		t.Errorf("%+v", o)
	}
	if o.lifetime() < DefaultAcquireTimeout+DefaultHold {
		t.Errorf("a sandbox lives for %v", o.lifetime())
	}
	// As the manifests of sigs.k8s.io/agent-sandbox label the pods of its Python router and of its Go one.
	for _, labels := range []map[string]string{
		{"app": "sandbox-router"}, {"app.kubernetes.io/name": "sandbox-router", "app.kubernetes.io/component": "sandbox-router"},
	} {
		if !slices.ContainsFunc(o.entrances(), func(p claim.Peer) bool {
			for k, v := range p.Labels {
				if labels[k] != v {
					return false
				}
			}
			return p.Namespace == DefaultRouterNamespace && len(p.Labels) > 0
		}) {
			t.Errorf("a router with labels %v is not let in: %+v", labels, o.entrances())
		}
	}
	o.Connection = ConnectionInCluster
	for _, e := range o.entrances() {
		if e.IP == "" {
			t.Errorf("let in: %+v", e)
		}
	}
	if !o.named() {
		t.Error("sandboxes in the cluster are reached by name unless --pod-ip says otherwise")
	}
}

// The ports that tell the container of a runtime from those beside it.
func TestRuntimePorts(t *testing.T) {
	for _, test := range []struct {
		spec sandbox.Cluster
		want []int
	}{
		{sandbox.Cluster{}, []int{8888, 9090}},
		{sandbox.Cluster{Port: 80}, []int{80}},
		{sandbox.Cluster{Runtime: runtimeExec, Port: 80}, nil},
	} {
		if got := runtimePorts(test.spec); !slices.Equal(got, test.want) {
			t.Errorf("%+v: %v, want %v", test.spec, got, test.want)
		}
	}
}

// What doctor asks for, deploy/rbac gives.
func TestShippedRights(t *testing.T) {
	given := map[string]bool{}
	files, err := filepath.Glob("../../../deploy/rbac/[0-9]*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for d := yaml.NewDecoder(f); ; {
			var role struct {
				Metadata struct{ Namespace string }
				Rules    []struct {
					APIGroups []string `yaml:"apiGroups"`
					Resources []string
					Verbs     []string
				}
			}
			if err := d.Decode(&role); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(file, err)
			}
			for _, rule := range role.Rules {
				for _, group := range rule.APIGroups {
					for _, resource := range rule.Resources {
						for _, verb := range rule.Verbs {
							given[fmt.Sprint(role.Metadata.Namespace, group, resource, verb)] = true
						}
					}
				}
			}
		}
	}
	for _, connection := range []Connection{ConnectionTunnel, ConnectionGateway, ConnectionInCluster, ConnectionDirect} {
		o := Options{Connection: connection, GatewayNamespace: DefaultRouterNamespace}.withDefaults()
		for _, n := range needs(o, "sbxrun") {
			for _, verb := range n.verbs {
				if !given[fmt.Sprint(n.namespace, n.group, n.resource, verb)] {
					t.Errorf("%s: nothing in deploy/rbac lets %s %s in %s", n.feature, verb, n.resource, n.namespace)
				}
			}
		}
	}
}

func TestHeard(t *testing.T) {
	for _, test := range []struct {
		said  string
		took  time.Duration
		state sandbox.State
		says  string
	}{
		{"ConnectionRefusedError: [Errno 111] Connection refused\n", 0, sandbox.Weaker, "are not enforced"},
		{"TimeoutError: timed out\n", 4 * time.Second, sandbox.OK, "are enforced"},
		{"", 4 * time.Second, sandbox.OK, "are enforced"}, // timeout and nc say nothing
		{"OSError: [Errno 113] No route to host", 0, sandbox.OK, "are enforced"},
		{"no program that connects", 0, sandbox.Weaker, "not known"},
		{"knock: tail: not found", 0, sandbox.Weaker, "tail: not found"},
		{"", 0, sandbox.Weaker, "not known"},
	} {
		state, detail, remedy := heard(test.said, test.took)
		if state != test.state || !strings.Contains(detail, test.says) || (remedy == "") != (state == sandbox.OK) {
			t.Errorf("%q after %v: %s, %q, %q", test.said, test.took, state, detail, remedy)
		}
	}
}

// serve is an API server that answers as handle does, and the options that lead to it.
func serve(t *testing.T, handle http.HandlerFunc) Options {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c",
		"clusters": [{"name": "c", "cluster": {"server": %q}}], "contexts": [{"name": "c", "context": {"cluster": "c", "namespace": "ns"}}]}`, s.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Options{Kubeconfig: file}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // to a client that went away
}

// A cluster without Agent Sandbox cannot give sandboxes, and the error says what to install.
func TestOpenWithoutAgentSandbox(t *testing.T) {
	_, err := Open(t.Context(), serve(t, func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }))
	if sandbox.KindOf(err) != sandbox.KindUnsupported || !strings.Contains(err.Error(), "install Agent Sandbox") {
		t.Error(err)
	}
}

// A mistake in the recipe's spec is the same for every sample, and is found before anything is made.
func TestAcquireWrongSpec(t *testing.T) {
	o := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/apis/extensions.agents.x-k8s.io":
			answer(w, map[string]any{"kind": "APIGroup", "apiVersion": "v1", "name": "extensions.agents.x-k8s.io",
				"versions": []map[string]string{{"groupVersion": "extensions.agents.x-k8s.io/v1beta1", "version": "v1beta1"}}})
		case strings.HasSuffix(r.URL.Path, "/leases") && r.Method == http.MethodPost:
			var lease map[string]any
			if err := json.NewDecoder(r.Body).Decode(&lease); err != nil {
				t.Error(err)
			}
			lease["metadata"].(map[string]any)["uid"] = "u"
			answer(w, lease)
		case r.Method == http.MethodDelete:
			answer(w, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Success"})
		case r.Method == http.MethodPost:
			t.Errorf("%s %s", r.Method, r.URL)
			http.NotFound(w, r)
		case r.URL.Query().Get("watch") != "":
			<-r.Context().Done()
		default:
			answer(w, map[string]any{"kind": "SandboxClaimList", "apiVersion": "extensions.agents.x-k8s.io/v1beta1", "metadata": map[string]any{"resourceVersion": "1"}, "items": []any{}})
		}
	})
	o.Run = sandbox.Run{ID: "r", Dir: t.TempDir(), Size: 1}
	p, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]sandbox.Cluster{
		"containrs": {Spec: []byte(`{"podTemplate":{"spec":{"containrs":[]}}}`)},
		"claimm":    {WarmPool: "w", Volumes: []byte(`[{"claimm":1}]`)},
	} {
		_, err = p.Acquire(t.Context(), sandbox.Spec{Name: "a", Cluster: c})
		if sandbox.KindOf(err) != sandbox.KindUnsupported || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// Examine names what the user may not do, by feature; without claims there are no sandboxes.
func TestPermissions(t *testing.T) {
	type review struct {
		Spec struct {
			ResourceAttributes struct{ Verb, Resource, Subresource string }
		}
		Status struct {
			Allowed bool `json:"allowed"`
		} `json:"status"`
	}
	for _, test := range []struct {
		refused []string // resource verb
		state   sandbox.State
		says    []string
	}{
		{nil, sandbox.OK, []string{"all"}},
		{[]string{"pods exec create"}, sandbox.Weaker, []string{"runtime exec", "create pods/exec in ns"}},
		{[]string{"sandboxclaims  create"}, sandbox.Blocked, []string{"sandboxes", "create sandboxclaims in ns"}},
	} {
		o := serve(t, func(w http.ResponseWriter, r *http.Request) {
			var q review
			if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
				t.Error(err)
			}
			a := q.Spec.ResourceAttributes
			q.Status.Allowed = !slices.Contains(test.refused, a.Resource+" "+a.Subresource+" "+a.Verb)
			answer(w, q)
		}).withDefaults()
		c, err := o.cluster()
		if err != nil {
			t.Fatal(err)
		}
		findings := permissions(context.Background(), c, o)
		c.Close()
		if len(findings) != 1 || findings[0].State != test.state {
			t.Errorf("%v: %+v", test.refused, findings)
			continue
		}
		for _, s := range test.says {
			if !strings.Contains(findings[0].Detail, s) {
				t.Errorf("%v: %q, want %q", test.refused, findings[0].Detail, s)
			}
		}
	}
}
