package podexec

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// defaultContainer is kubectl's annotation on pods.
const defaultContainer = "kubectl.kubernetes.io/default-container"

// container is the one to name in a request. It is empty until a pod turns out to have several: the API server takes the
// only one by itself, which saves asking for the pod.
func (t *Transport) container() string {
	if t.target.Container != "" {
		return t.target.Container
	}
	if name, ok := t.client.containers.Load(t.pool()); ok {
		return name.(string)
	}
	return ""
}

// pool is what has pods with the same containers; at least the pod itself.
func (t *Transport) pool() Target {
	if t.target.Pool == "" {
		return Target{Namespace: t.target.Namespace, Pod: t.target.Pod}
	}
	return Target{Namespace: t.target.Namespace, Pool: t.target.Pool}
}

// unnamed says whether the API server refused because the pod has several containers and none was named.
func unnamed(err *apierrors.StatusError) bool {
	return err != nil && apierrors.IsBadRequest(err) && strings.Contains(err.Error(), "a container name must be specified")
}

// find asks which container of the pod is meant.
func (t *Transport) find(ctx context.Context, op string) (string, error) {
	pods, err := t.client.cluster.Pods(t.target.Namespace)
	if err != nil {
		return "", err
	}
	pod, err := pods.Get(ctx, t.target.Pod, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "", t.final(op, sandbox.KindLost, fmt.Errorf("the pod is gone: %w", err))
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return "", cluster.Classify(op, t.target.Pod, err)
	case err != nil:
		return "", fmt.Errorf("reading pod %s: %w", t.target.Pod, err)
	}
	name := preferred(pod)
	t.client.containers.Store(t.pool(), name)
	return name, nil
}

func preferred(pod *corev1.Pod) string {
	if name := pod.Annotations[defaultContainer]; name != "" {
		return name
	}
	if len(pod.Spec.Containers) == 0 {
		return ""
	}
	return pod.Spec.Containers[0].Name
}
