package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Install says how a cluster gets what is asked of it.
const Install = "install Agent Sandbox v0.5 or later with its extensions: https://agent-sandbox.sigs.k8s.io/docs/getting_started/"

// Classify makes an error of an API request an *sandbox.Error that says what was refused, to whom, and what to do.
// An error that has one in its chain is returned as it is, nil as nil.
func Classify(op, id string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*sandbox.Error](err); ok {
		return err
	}
	kind, err := classify(err)
	return &sandbox.Error{Op: op, ID: id, Kind: kind, Err: err}
}

func classify(err error) (sandbox.Kind, error) {
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		return classifyStatus(err, status.Status())
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return sandbox.KindUnavailable, err
	}
	if _, ok := errors.AsType[*Away](err); ok {
		return sandbox.KindUnavailable, err
	}
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	if authority || certificate {
		return sandbox.KindUnsupported, fmt.Errorf("the API server's certificate is not trusted: correct the kubeconfig's certificate authority: %w", err)
	}
	if strings.Contains(err.Error(), "getting credentials: ") {
		return sandbox.KindUnsupported, fmt.Errorf("the kubeconfig's credential plugin does not work; `kubectl get pods` must work with the same context: %w", err)
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return sandbox.KindUnsupported, fmt.Errorf("the API server's name %q is not known: correct the kubeconfig, or choose another --context: %w", dns.Name, err)
	}
	return sandbox.KindUnavailable, err
}

// rbac matches the words of Kubernetes' authorizer: who, verb, resource, group, and where.
var rbac = regexp.MustCompile(`User "([^"]*)" cannot (\w+) resource "([^"]*)" in API group "([^"]*)"(?: in the namespace "([^"]*)"| at the cluster scope)?`)

func classifyStatus(err error, s metav1.Status) (sandbox.Kind, error) {
	details := s.Details
	if details == nil {
		details = &metav1.StatusDetails{}
	}
	switch {
	case s.Code == http.StatusUnauthorized:
		return sandbox.KindUnsupported, fmt.Errorf("the API server does not accept the credentials (401): they have expired, or are not for this cluster; log in again; `kubectl auth whoami` must work with the same context: %w", err)
	case s.Code == http.StatusForbidden:
		if m := rbac.FindStringSubmatch(s.Message); m != nil {
			return sandbox.KindUnsupported, Forbidden(m[1], m[2], m[4], m[3], m[5])
		}
		if strings.Contains(s.Message, "exceeded quota") {
			return sandbox.KindUnavailable, fmt.Errorf("the namespace's quota is used up: raise it, run with a smaller pool (-j), or free what else is in it: %w", err)
		}
		return sandbox.KindUnsupported, fmt.Errorf("refused by the cluster: %w", err)
	case s.Code == http.StatusNotFound && details.Kind == "namespaces":
		return sandbox.KindUnsupported, fmt.Errorf("namespace %q does not exist: make it, or choose another with --namespace: %w", details.Name, err)
	case s.Code == http.StatusNotFound && details.Name == "" || unserved(details):
		if strings.HasSuffix(details.Group, "agents.x-k8s.io") {
			return sandbox.KindUnsupported, fmt.Errorf("the cluster does not serve %s of %s: %s: %w", details.Kind, details.Group, Install, err)
		}
		return sandbox.KindUnsupported, fmt.Errorf("the cluster does not serve this: %w", err)
	case s.Code == http.StatusNotFound:
		return sandbox.KindNotFound, err
	case s.Code == http.StatusUnprocessableEntity, s.Code == http.StatusBadRequest, s.Code == http.StatusRequestEntityTooLarge:
		return sandbox.KindInvalid, err
	case s.Code == http.StatusConflict:
		return sandbox.KindUnavailable, fmt.Errorf("another program changed it at the same time, or the name is taken: %w", err)
	case s.Code == http.StatusTooManyRequests:
		return sandbox.KindUnavailable, fmt.Errorf("the API server has too much to do; a smaller pool (-j) asks less of it: %w", err)
	case s.Code >= 500:
		return sandbox.KindUnavailable, fmt.Errorf("the API server fails: %w", err)
	}
	return sandbox.KindInternal, err
}

// unserved tells "no such resource" from "no object of this name": the former was not answered by Kubernetes' own code for objects.
func unserved(d *metav1.StatusDetails) bool {
	for _, c := range d.Causes {
		if c.Type == metav1.CauseTypeUnexpectedServerResponse && strings.Contains(c.Message, "404 page not found") {
			return true
		}
	}
	return false
}

// Forbidden is the error of a request that RBAC refuses, with the rule that would allow it.
func Forbidden(user, verb, group, resource, namespace string) error {
	where, role := "the whole cluster", "ClusterRole"
	if namespace != "" {
		where, role = fmt.Sprintf("namespace %q", namespace), "Role of that namespace"
	}
	if user == "" {
		user = "this user"
	} else {
		user = fmt.Sprintf("user %q", user)
	}
	return fmt.Errorf("%s may not %s %s in %s: add to a %s that is bound to it: {apiGroups: [%q], resources: [%q], verbs: [%q]}",
		user, verb, resource, where, role, group, resource, verb)
}
