package podexec

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/runtime/part"
)

// statusOf reads the error that an answer carries.
func statusOf(r *http.Request, resp *http.Response) *apierrors.StatusError {
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var status metav1.Status
	if err == nil && json.Unmarshal(body, &status) == nil && status.Kind == "Status" {
		return &apierrors.StatusError{ErrStatus: status}
	}
	return apierrors.NewGenericServerResponse(resp.StatusCode, r.Method, corev1.Resource("pods"), "", part.Cut(string(body)), 0, true)
}

// refused is the error for an answer in place of streams. Nothing ran.
func (t *Transport) refused(op string, err *apierrors.StatusError) error {
	switch {
	case apierrors.IsNotFound(err), apierrors.IsGone(err):
		return t.final(op, sandbox.KindLost, fmt.Errorf("the pod is gone: %w", err))
	case apierrors.IsForbidden(err):
		return t.final(op, sandbox.KindUnsupported, fmt.Errorf("the runtime exec needs pods/exec in namespace %s: "+
			`grant it by a role with the rule {apiGroups: [""], resources: [pods/exec], verbs: [create, get]}: %w`, t.target.Namespace, err))
	case apierrors.IsUnauthorized(err):
		return cluster.Classify(op, t.target.Pod, err)
	case apierrors.IsBadRequest(err) && strings.Contains(err.Error(), "container"):
		return t.final(op, sandbox.KindUnsupported, fmt.Errorf(
			"the container that commands are to run in cannot be used; name one that the pod has in its annotation %s: %w", defaultContainer, err))
	}
	return t.broken(op, err)
}

// broken is the error where the API server has no answer of its own. What kubelets and container runtimes say comes as
// text; what is not known here means that there was no answer.
func (t *Transport) broken(op string, err error) error {
	said := err.Error()
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(said, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has(`exec: "sh"`) && has("not found", "no such file"):
		return t.noShell(part.Cut(said))
	case has("failed to create exec", "failed to load task") && has("not found"), has("container not found", "pod does not exist", "pod not found", "CONTAINER_EXITED", "container is not created or running",
		"cannot exec in a stopped", "cannot exec in a deleted", "container not running", "is not running"):
		return t.final(op, sandbox.KindLost, fmt.Errorf("the container is gone: %w", err))
	}
	return fmt.Errorf("%s in pod %s: %w", op, t.target.Pod, err)
}

// unfinished is the error where the shell ended before its script did.
func (t *Transport) unfinished(a answer) error {
	said := part.Cut(strings.TrimSpace(string(a.stderr)))
	if a.exit == 126 || a.exit == 127 { // of container runtimes that report a missing program as a status
		return t.noShell(said)
	}
	return fmt.Errorf("exec in pod %s: the shell ended with status %d before the command did: %q", t.target.Pod, a.exit, said)
}

func (t *Transport) noShell(said string) error {
	return t.final("exec", sandbox.KindUnsupported, fmt.Errorf(
		"the container has no program sh, which the runtime exec needs: take an image that has one (%s)", said))
}

func (t *Transport) final(op string, kind sandbox.Kind, err error) error {
	return &sandbox.Error{Op: op, ID: t.target.Pod, Kind: kind, Err: err}
}

var errClosed = errors.New("the sandbox was released")
