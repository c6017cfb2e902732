//go:build e2e

package e2e

import (
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

// right is one verb on one resource.
type right struct{ group, resource, verb string }

const (
	extensions = "extensions.agents.x-k8s.io"
	networking = "networking.k8s.io"
)

func rights(group, resource string, verbs ...string) (list []right) {
	for _, verb := range verbs {
		list = append(list, right{group, resource, verb})
	}
	return list
}

// account makes a service account that may do what rights say and returns a kubeconfig with its token.
func (w *world) account(name string, may []right) (kubeconfig string) {
	w.t.Helper()
	var rules strings.Builder
	for _, r := range may {
		fmt.Fprintf(&rules, "- {apiGroups: [%q], resources: [%s], verbs: [%s]}\n", r.group, r.resource, r.verb)
	}
	w.apply(fmt.Sprintf(`
apiVersion: v1
kind: ServiceAccount
metadata: {name: %[1]s}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: %[1]s}
rules:
%[3]s
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: %[1]s}
subjects: [{kind: ServiceAccount, name: %[1]s, namespace: %[2]s}]
`, name, w.name, rules.String()))
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

// Without any one of the rights that a feature needs, the run is an error that names the verb, the resource and the
// namespace; with exactly those rights it passes.
func TestRights(t *testing.T) {
	t.Parallel()
	every := slices.Concat(
		rights(extensions, "sandboxclaims", "create", "get", "list", "watch", "delete"),
		rights("coordination.k8s.io", "leases", "create", "get", "update", "delete"))
	pools := rights(extensions, "sandboxwarmpools", "create", "delete")
	exec := rights("", "pods/exec", "create")
	for _, f := range []struct {
		name, sandbox string
		may           []right
		optional      []string // verbs without which it passes
	}{
		{"template", "{template: plain, runtime: exec}", slices.Concat(every, pools, exec), nil},
		{"image", "{image: " + set.plain + ", network: case}", slices.Concat(every, pools, exec, rights(extensions, "sandboxtemplates", "create", "delete"), rights(networking, "networkpolicies", "create", "delete")), nil},
		{"sandboxd", "{template: sandboxd, runtime: sandboxd}", slices.Concat(every, pools, rights("", "pods/portforward", "create")), nil},
	} {
		path := recipe(t, "version: 1\nname: rights\nsandboxes: {box: "+f.sandbox+"}\nsteps: [{run: 'true'}]\n")
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.startAs(w.account("least", f.may), path).ends(0).verdict("passed", "")
			w.clean()
			for i, missing := range f.may {
				t.Run(strings.ReplaceAll(missing.verb+" "+missing.resource, "/", "-"), func(t *testing.T) {
					t.Parallel()
					w := w.in(t)
					others := slices.Delete(slices.Clone(f.may), i, i+1)
					s := w.startAs(w.account(fmt.Sprintf("without-%d", i), others), path, "--infra-retries", "0")
					s.ends(3).says(missing.verb, missing.resource, w.name)
				})
			}
		})
	}
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
			s.ends(3).says("token")
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
