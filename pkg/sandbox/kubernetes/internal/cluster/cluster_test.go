package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

const twoContexts = `{apiVersion: v1, kind: Config, current-context: dev,
  contexts: [{name: dev, context: {cluster: c, user: u, namespace: team}}, {name: prod-eu, context: {cluster: c, user: u}}, {name: prod-us, context: {cluster: c, user: u}}],
  clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}], users: [{name: u, user: {username: me, password: p}}]}`

func write(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// alone takes away what the machine of the test has of its own.
func alone(t *testing.T) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBECONFIG", "")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("KUBERNETES_SERVICE_PORT", "")
}

func TestOpen(t *testing.T) {
	alone(t)
	file := write(t, "config", twoContexts)
	t.Setenv("KUBECONFIG", file)
	for _, test := range []struct {
		o         Options
		namespace string
	}{
		{Options{}, "team"},
		{Options{Context: "prod-eu"}, "default"},
		{Options{Namespace: "mine"}, "mine"},
		{Options{Kubeconfig: file, Context: "prod-us", Namespace: "mine"}, "mine"},
	} {
		c, err := Open(test.o)
		if err != nil {
			t.Errorf("%+v: %v", test.o, err)
			continue
		}
		if c.Namespace != test.namespace || c.Config.Host != "https://127.0.0.1:1" {
			t.Errorf("%+v: namespace %q, host %q", test.o, c.Namespace, c.Config.Host)
		}
	}
}

func TestOpenExplains(t *testing.T) {
	alone(t)
	file := write(t, "config", twoContexts)
	current := write(t, "config", strings.Replace(twoContexts, "current-context: dev", `current-context: ""`, 1))
	for _, test := range []struct {
		o    Options
		want string
	}{
		{Options{}, "no cluster is configured"},
		{Options{Kubeconfig: file, Context: "prod-er"}, `no context "prod-er"; it has "prod-eu", "prod-us", "dev"`},
		{Options{Kubeconfig: "/does/not/exist"}, "/does/not/exist"},
		{Options{Kubeconfig: current}, "--context"},
		{Options{Kubeconfig: write(t, "config", "{")}, "kubeconfig /"},
	} {
		kind := sandbox.KindInvalid // what was chosen is not there
		if test.o == (Options{}) {
			kind = sandbox.KindUnsupported
		}
		_, err := Open(test.o)
		if err == nil || sandbox.KindOf(err) != kind || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v of kind %v, want %q of kind %v", test.o, err, sandbox.KindOf(err), test.want, kind)
		}
	}
}

func TestOpenInPod(t *testing.T) {
	alone(t)
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	if _, err := os.Stat("/var/run/secrets/kubernetes.io/serviceaccount/token"); err == nil {
		c, err := Open(Options{})
		if err != nil || c.Config.Host != "https://10.0.0.1:443" {
			t.Errorf("%v, %v", c, err)
		}
		return
	}
	// Without the ServiceAccount's files it is no pod: the message must say what is missing.
	if _, err := Open(Options{}); err == nil || sandbox.KindOf(err) != sandbox.KindUnsupported {
		t.Error(err)
	}
}

func to(t *testing.T, url string) *Cluster {
	t.Helper()
	alone(t)
	c, err := Open(Options{Kubeconfig: write(t, "config", strings.Replace(twoContexts, "https://127.0.0.1:1", url, 1))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestPatience(t *testing.T) {
	const fine = `{"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{"name":"l"}}`
	for _, test := range []struct {
		name string
		fail func(w http.ResponseWriter)
	}{
		{"cut", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }},
		{"unavailable", func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }},
		{"throttled", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var n atomic.Int64
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if n.Add(1) <= 3 {
					test.fail(w)
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(fine))
			}))
			defer s.Close()
			c := to(t, s.URL)
			leases, err := c.Leases("ns")
			if err != nil {
				t.Fatal(err)
			}
			if l, err := leases.Get(t.Context(), "l", metav1.GetOptions{}); err != nil || l.Name != "l" {
				t.Errorf("after three failures: %v, %v", l, err)
			}
			if got := c.Requests.Snapshot()["get leases"]; got != 4 || c.Requests.Total() != 4 {
				t.Errorf("counted %v", c.Requests.Snapshot())
			}
			n.Store(-1000)
			_, err = leases.Get(Patience(t.Context(), 300*time.Millisecond), "l", metav1.GetOptions{})
			if err = Classify("acquire", "x", err); sandbox.KindOf(err) != sandbox.KindUnavailable {
				t.Errorf("without end: %v", err)
			}
		})
	}
}

func TestPatienceEndsWithTheContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody listens there now
	c := to(t, "http://"+l.Addr().String())
	pods, err := c.Pods("ns")
	if err != nil {
		t.Fatal(err)
	}
	_, err = pods.Get(Patience(t.Context(), 200*time.Millisecond), "p", metav1.GetOptions{})
	if err = Classify("acquire", "x", err); sandbox.KindOf(err) != sandbox.KindUnavailable || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("refused: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = pods.Get(ctx, "p", metav1.GetOptions{})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("ended by its context: %v", err)
	}
}

func TestServersClock(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Hour, -time.Hour} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusNotFound)
		}))
		c := to(t, s.URL)
		leases, err := c.Leases("ns")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = leases.Get(t.Context(), "l", metav1.GetOptions{})
		if off := time.Until(c.Now()) - ahead; off.Abs() > time.Minute {
			t.Errorf("a clock %v ahead is taken for %v", ahead, time.Until(c.Now()))
		}
		s.Close()
	}
}

func TestVerbAndResource(t *testing.T) {
	for _, test := range []struct{ method, url, want string }{
		{"GET", "/api/v1/namespaces/ns/pods/p", "get pods"},
		{"GET", "/api/v1/namespaces/ns/pods", "list pods"},
		{"GET", "/api/v1/namespaces/ns/pods?watch=true", "watch pods"},
		{"POST", "/api/v1/namespaces/ns/pods/p/exec?command=sh", "create pods/exec"},
		{"GET", "/api/v1/namespaces/ns/pods/p/portforward", "get pods/portforward"},
		{"DELETE", "/apis/g/v1/namespaces/ns/things", "deletecollection things"},
		{"DELETE", "/apis/g/v1/namespaces/ns/things/t", "delete things"},
		{"PATCH", "/k8s/clusters/c-1/apis/g/v1/namespaces/ns/things/t", "patch things"},
		{"PUT", "/apis/g/v1/namespaces/ns/things/t/status", "update things/status"},
		{"GET", "/api/v1/namespaces/ns", "get namespaces"},
		{"GET", "/apis/g", "discover api"},
		{"GET", "/version", "GET /version"},
	} {
		r := httptest.NewRequest(test.method, test.url, nil)
		if got := verbAndResource(r); got != test.want {
			t.Errorf("%s %s is %q, want %q", test.method, test.url, got, test.want)
		}
	}
}

func TestClassify(t *testing.T) {
	status := func(code int32, reason metav1.StatusReason, message string, details *metav1.StatusDetails) error {
		return fmt.Errorf("make it: %w", &apierrors.StatusError{ErrStatus: metav1.Status{Code: code, Reason: reason, Message: message, Details: details}})
	}
	known := &sandbox.Error{Op: "exec", Kind: sandbox.KindLost, Err: errors.New("x")}
	for _, test := range []struct {
		err  error
		kind sandbox.Kind
		want string
	}{
		{status(403, metav1.StatusReasonForbidden, `pods "p" is forbidden: User "system:serviceaccount:ns:ci" cannot create resource "pods/exec" in API group "" in the namespace "ns"`, nil),
			sandbox.KindUnsupported, `user "system:serviceaccount:ns:ci" may not create pods/exec in namespace "ns": add to a Role of that namespace that is bound to it: {apiGroups: [""], resources: ["pods/exec"], verbs: ["create"]}`},
		{status(403, metav1.StatusReasonForbidden, `nodes is forbidden: User "me" cannot list resource "nodes" in API group "" at the cluster scope`, nil),
			sandbox.KindUnsupported, "ClusterRole"},
		{status(403, metav1.StatusReasonForbidden, `pods "p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5`, nil), sandbox.KindUnavailable, "-j"},
		{status(403, metav1.StatusReasonForbidden, `it violates PodSecurity "restricted:latest"`, nil), sandbox.KindUnsupported, "PodSecurity"},
		{status(401, metav1.StatusReasonUnauthorized, "Unauthorized", nil), sandbox.KindUnsupported, "expired"},
		{status(404, metav1.StatusReasonNotFound, `namespaces "x" not found`, &metav1.StatusDetails{Kind: "namespaces", Name: "x"}), sandbox.KindUnsupported, "--namespace"},
		{status(404, metav1.StatusReasonNotFound, "the server could not find the requested resource (post sandboxclaims.extensions.agents.x-k8s.io)",
			&metav1.StatusDetails{Group: "extensions.agents.x-k8s.io", Kind: "sandboxclaims", Causes: []metav1.StatusCause{{Type: metav1.CauseTypeUnexpectedServerResponse, Message: "404 page not found"}}}),
			sandbox.KindUnsupported, "install Agent Sandbox"},
		{status(404, metav1.StatusReasonNotFound, `pods "p" not found`, &metav1.StatusDetails{Kind: "pods", Name: "p"}), sandbox.KindNotFound, "not found"},
		{status(409, metav1.StatusReasonConflict, "the object has been modified", nil), sandbox.KindUnavailable, "at the same time"},
		{status(422, metav1.StatusReasonInvalid, "spec.x: Invalid value", nil), sandbox.KindInvalid, "spec.x"},
		{status(429, metav1.StatusReasonTooManyRequests, "busy", nil), sandbox.KindUnavailable, "too much to do"},
		{status(500, metav1.StatusReasonInternalError, "webhook", nil), sandbox.KindUnavailable, "webhook"},
		{&Away{errors.New("connection refused"), time.Minute}, sandbox.KindUnavailable, "no answer from the API server for 1m0s: connection refused"},
		{&net.DNSError{Err: "no such host", Name: "api.nowhere", IsNotFound: true}, sandbox.KindUnsupported, `"api.nowhere" is not known`},
		{errors.New("getting credentials: exec: executable aws not found"), sandbox.KindUnsupported, "credential plugin"},
		{fmt.Errorf("in between: %w", known), sandbox.KindLost, "x"},
	} {
		err := Classify("acquire", "sbx-1", test.err)
		if sandbox.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v\nis of kind %v (want %v) and does not say %q:\n%v", test.err, sandbox.KindOf(err), test.kind, test.want, err)
		}
	}
	if Classify("acquire", "", nil) != nil {
		t.Error("no error became one")
	}
}

func TestCertificateNotTrusted(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	c := to(t, s.URL)
	pods, err := c.Pods("ns")
	if err != nil {
		t.Fatal(err)
	}
	_, err = pods.Get(t.Context(), "p", metav1.GetOptions{})
	if err = Classify("open", "", err); sandbox.KindOf(err) != sandbox.KindUnsupported || !strings.Contains(err.Error(), "certificate authority") {
		t.Error(err)
	}
}

// A credential plugin's token without a time of expiry is kept until the API server refuses it: that costs no request.
func TestTokenExpiresMeanwhile(t *testing.T) {
	alone(t)
	dir := t.TempDir()
	token, plugin, file := filepath.Join(dir, "token"), filepath.Join(dir, "plugin"), filepath.Join(dir, "config")
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write(plugin, `#!/bin/sh
printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}' "$(cat '`+token+`')"
`, 0o700)
	var valid atomic.Value
	renew := func(to string) {
		write(token, to, 0o600)
		valid.Store(to)
	}
	renew("one")
	var refused atomic.Int32
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Authorization") != "Bearer "+valid.Load().(string) {
			refused.Add(1)
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Unauthorized","code":401}`)
			return
		}
		fmt.Fprint(w, `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]}`)
	}))
	defer s.Close()
	write(file, fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],
clusters: [{name: c, cluster: {server: %q, insecure-skip-tls-verify: true}}],
users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: %q, interactiveMode: Never}}}]}`, s.URL, plugin), 0o600)
	c, err := Open(Options{Kubeconfig: file})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	pods, err := c.Pods("default")
	if err != nil {
		t.Fatal(err)
	}
	for _, now := range []string{"one", "two", "three"} {
		renew(now)
		if _, err := pods.List(t.Context(), metav1.ListOptions{}); err != nil {
			t.Errorf("with token %s: %v", now, err)
		}
	}
	if n := refused.Load(); n != 2 {
		t.Errorf("%d requests were refused, want one for each new token", n)
	}
	valid.Store("nobody's")
	if _, err := pods.List(t.Context(), metav1.ListOptions{}); sandbox.KindOf(Classify("x", "", err)) != sandbox.KindUnsupported || refused.Load() != 4 {
		t.Errorf("a token that is never accepted: %v after %d refusals, want two more", err, refused.Load())
	}
}
