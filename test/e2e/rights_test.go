//go:build e2e

package e2e

import (
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// right is one verb on one resource, in the namespace of the test or in another.
type right struct{ namespace, group, resource, verb string }

const (
	extensions   = "extensions.agents.x-k8s.io"
	networking   = "networking.k8s.io"
	coordination = "coordination.k8s.io"
)

func rights(group, resource string, verbs ...string) (list []right) {
	for _, verb := range verbs {
		list = append(list, right{"", group, resource, verb})
	}
	return list
}

// account makes a service account that may do what rights say and returns a kubeconfig with its token.
func (w *world) account(name string, may []right) (kubeconfig string) {
	w.t.Helper()
	w.apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: " + name + "}}")
	rules := map[string]*strings.Builder{"": {}}
	for _, r := range may {
		if rules[r.namespace] == nil {
			rules[r.namespace] = &strings.Builder{}
		}
		fmt.Fprintf(rules[r.namespace], "- {apiGroups: [%q], resources: [%s], verbs: [%s]}\n", r.group, r.resource, r.verb)
	}
	for namespace, rules := range rules {
		w.apply(fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: %[1]s, namespace: %[4]s}
rules:
%[3]s
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: %[1]s, namespace: %[4]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: %[1]s}
subjects: [{kind: ServiceAccount, name: %[2]s, namespace: %[5]s}]
`, w.name+"-"+name, name, rules.String(), cmp.Or(namespace, w.name), w.name))
	}
	request := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"expirationSeconds": int64(3600)},
	}}
	answer, err := api.Resource(accounts).Namespace(w.name).Create(w.t.Context(), request, metav1.CreateOptions{}, "token")
	if err != nil {
		w.t.Fatal(err)
	}
	token, _, _ := unstructured.NestedString(answer.Object, "status", "token")
	return w.withToken(token)
}

// withToken is a kubeconfig with another user's token.
func (w *world) withToken(token string) string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "kubeconfig")
	writeKubeconfig(w.t, path, "", func(_ *clientcmdapi.Cluster, u *clientcmdapi.AuthInfo) {
		*u = clientcmdapi.AuthInfo{Token: token}
	})
	return path
}

// needed are the rights without which no run gets a sandbox; rare are those for what happens once in a while: an answer
// that was lost, a Lease that has to be renewed.
var (
	needed = slices.Concat(rights(extensions, "sandboxclaims", "create", "watch", "delete"), rights(coordination, "leases", "create", "delete"))
	rare   = slices.Concat(rights(extensions, "sandboxclaims", "get", "list", "deletecollection"), rights(coordination, "leases", "get", "update"),
		rights(extensions, "sandboxtemplates", "get"), rights(extensions, "sandboxwarmpools", "get"))
	ownPool = rights(extensions, "sandboxwarmpools", "create", "delete")
	podExec = rights("", "pods/exec", "create")
)

// Without any one of the rights that a feature needs, the run is an error that names the verb, the resource and the
// namespace; with exactly those rights it passes.
func TestRights(t *testing.T) {
	t.Parallel()
	gateways, _, _ := strings.Cut(set.gateway, "/")
	for _, f := range []struct {
		name, recipe string
		flags        []string
		may          []right // beside needed and rare
	}{
		{"template", "sandboxes: {box: {template: plain, runtime: exec}}", nil, slices.Concat(ownPool, podExec)},
		{"image", "sandboxes: {box: {image: \"" + set.plain + "\"}}", nil,
			slices.Concat(ownPool, podExec, rights(extensions, "sandboxtemplates", "create", "delete"))},
		{"network", "sandboxes: {box: {image: \"" + set.plain + "\", network: case}, other: {image: \"" + set.plain + "\", network: case}}", nil,
			slices.Concat(ownPool, podExec, rights(extensions, "sandboxtemplates", "create", "delete"), rights(networking, "networkpolicies", "create", "delete"))},
		{"sandboxd", "sandboxes: {box: {template: sandboxd, runtime: sandboxd}}", nil, slices.Concat(ownPool, rights("", "pods/portforward", "create"))},
		{"reset", "sandboxes: {box: {template: plain, runtime: exec}}\npool: {size: 1, reuse: reset}\ncases: {matrix: {n: [1, 2]}}", nil,
			slices.Concat(ownPool, podExec, rights(extensions, "sandboxclaims", "patch"))},
		{"tunnel", "sandboxes: {box: {template: python, runtime: python}}", []string{"--router-namespace", set.router}, append(slices.Clone(ownPool),
			right{set.router, "", "pods/portforward", "create"}, right{set.router, "discovery.k8s.io", "endpointslices", "list"})},
		{"gateway", "sandboxes: {box: {template: python, runtime: python}}", gatewayFlags(set.gateway), append(slices.Clone(ownPool),
			right{gateways, "gateway.networking.k8s.io", "gateways", "get"})},
	} {
		args := append([]string{recipe(t, "version: 1\nname: rights\n"+f.recipe+"\nsteps: [{run: 'true'}, {run: 'true', sandbox: "+lastBox(f.recipe)+"}]\n"), "--infra-retries", "0"}, f.flags...)
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.startAs(w.account("least", slices.Concat(needed, rare, f.may)), args...).ends(0).verdict("passed", "")
			w.clean()
			may := f.may
			if f.name == "template" {
				may = append(slices.Clone(needed), may...)
				w.startAs(w.account("fewest", slices.Concat(needed, f.may)), args...).ends(0).verdict("passed", "")
				w.clean()
			}
			for i, missing := range may {
				t.Run(strings.ReplaceAll(missing.verb+" "+missing.resource, "/", "-"), func(t *testing.T) {
					t.Parallel()
					w := w.in(t)
					others := slices.DeleteFunc(slices.Concat(needed, rare, f.may), func(r right) bool {
						// What may not be deleted one by one is deleted together.
						return r == missing || missing.verb == "delete" && r.resource == missing.resource && r.verb == "deletecollection"
					})
					s := w.startAs(w.account(fmt.Sprintf("without-%d", i), others), args...)
					exit := 3
					if missing.verb == "patch" {
						exit = 0 // a sandbox that cannot be reset is replaced, which is said
					}
					s.ends(exit).says(missing.verb, missing.resource, cmp.Or(missing.namespace, w.name))
				})
			}
		})
	}
}

// lastBox is the name of the sandbox that the last step of a recipe of TestRights uses.
func lastBox(recipe string) string {
	if strings.Contains(recipe, "other:") {
		return "other"
	}
	return "box"
}

// Without the right to renew its Lease a run takes no further sandboxes: gc would take them for a dead run's.
func TestNoRenewal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	may := slices.Concat(needed, podExec, ownPool, rights(extensions, "sandboxclaims", "get", "list", "deletecollection"))
	s := w.startAs(w.account("mortal", may), recipe(t, `
version: 1
name: renewal
sandboxes: {box: {template: plain, runtime: exec}}
pool: {size: 1, warm: 0}
cases: {matrix: {n: [1, 2]}}
steps: [{run: sleep 20}]
`), "--infra-retries", "0")
	s.ends(3).says("update", "leases", w.name)
	w.clean()
}

// A token that has expired, or is none, is an error that says so.
func TestOwnExpiredToken(t *testing.T) {
	t.Parallel()
	cluster := mine(t)
	w := newWorld(t)
	w.account("late", nil)
	for name, kubeconfig := range map[string]string{
		"expired": w.withToken(w.signed(cluster, "late", time.Now().Add(-time.Hour))),
		"garbage": w.withToken("garbage"),
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			s := w.startAs(kubeconfig, recipe(t, "version: 1\nname: token\nsteps: [{run: 'true'}]\n"), "--template", "plain", "--infra-retries", "0")
			s.ends(3).says("credentials (401)")
		})
	}
	w.clean()
}

// signed is a token of a service account as the API server would have made it, with another end.
func (w *world) signed(cluster *ownCluster, account string, end time.Time) string {
	w.t.Helper()
	object, err := api.Resource(accounts).Namespace(w.name).Get(w.t.Context(), account, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(cluster.state, "pki", "sa.key"))
	if err != nil {
		w.t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	const issuer = "https://kubernetes.default.svc.cluster.local"
	part := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			w.t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(data)
	}
	begin := end.Add(-time.Hour).Unix()
	text := part(map[string]any{"alg": "RS256"}) + "." + part(map[string]any{
		"iss": issuer, "aud": []string{issuer}, "iat": begin, "nbf": begin, "exp": end.Unix(),
		"sub":           "system:serviceaccount:" + w.name + ":" + account,
		"kubernetes.io": map[string]any{"namespace": w.name, "serviceaccount": map[string]any{"name": account, "uid": string(object.GetUID())}},
	})
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		w.t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}
