package claim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// doubt is called when the claim is not ready any more: it may be gone, or a probe may have failed once.
func (c *Claim) doubt(said string) {
	ctx, cancel := context.WithTimeout(cluster.Patience(c.claims.base, 5*time.Second), 10*time.Second)
	defer cancel()
	if reason, end := c.inspect(ctx); reason != "" {
		c.entry.lose(reason, end)
		return
	}
	if ended(said) {
		c.entry.lose("its pod is gone ("+said+")", End{})
	}
}

// ended tells conditions that say by themselves that the pod is no more from those of a pod that may come back.
func ended(said string) bool {
	return strings.HasPrefix(said, "Pod") || strings.Contains(said, "Pod does not exist")
}

// inspect looks at the pod. An empty reason means that it stands, or that nothing can be learnt.
func (c *Claim) inspect(ctx context.Context) (reason string, end End) {
	pods, err := c.claims.o.Cluster.Pods(c.Namespace)
	if err != nil {
		return "", End{}
	}
	pod, err := pods.Get(ctx, c.Pod, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Sprintf("pod %s is gone: it was deleted or evicted", c.Pod), End{}
	case err != nil:
		return "", End{}
	}
	if pod.Status.Phase == corev1.PodFailed && pod.Status.Reason != "" {
		// The kubelet took it: Evicted, NodeShutdown, Preempting...
		own := slices.ContainsFunc(ownDisk, func(s string) bool { return strings.Contains(pod.Status.Message, s) })
		return fmt.Sprintf("pod %s was ended by its node: %s: %s", c.Pod, pod.Status.Reason, pod.Status.Message), End{Died: own, Disk: own}
	}
	if i := slices.IndexFunc(pod.Status.Conditions, func(p corev1.PodCondition) bool {
		return p.Type == corev1.DisruptionTarget && p.Status == corev1.ConditionTrue
	}); i >= 0 {
		return fmt.Sprintf("pod %s was evicted: %s: %s", c.Pod, pod.Status.Conditions[i].Reason, pod.Status.Conditions[i].Message), End{}
	}
	if pod.DeletionTimestamp != nil {
		return fmt.Sprintf("pod %s was deleted by another program", c.Pod), End{}
	}
	var ips []string
	for _, ip := range pod.Status.PodIPs {
		ips = append(ips, ip.IP)
	}
	if len(c.PodIPs) > 0 && len(ips) > 0 && !slices.Equal(ips, c.PodIPs) || pod.CreationTimestamp.After(c.since) {
		return fmt.Sprintf("pod %s was deleted or evicted, and another one took its place", c.Pod), End{}
	}
	return c.died(pod)
}

// Stands says whether the pod runs on a node that is well; false where that cannot be read. A node that is away keeps what it
// said last, but for Ready, which the control plane takes from its pods. One request.
func (c *Claim) Stands(ctx context.Context) bool {
	pods, err := c.claims.o.Cluster.Pods(c.Namespace)
	if err != nil {
		return false
	}
	pod, err := pods.Get(ctx, c.Pod, metav1.GetOptions{})
	if err != nil || pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodRunning {
		return false
	}
	is := func(t corev1.PodConditionType) bool {
		return slices.ContainsFunc(pod.Status.Conditions, func(p corev1.PodCondition) bool { return p.Type == t && p.Status == corev1.ConditionTrue })
	}
	return !is(corev1.DisruptionTarget) && is(corev1.PodReady) == is(corev1.ContainersReady)
}

// ownDisk are the kubelet's words for a pod that is evicted for its own limits, and not for its node's need.
var ownDisk = []string{"ephemeral local storage usage exceeds", "exceeded its local ephemeral storage limit", "Usage of EmptyDir volume"}

// nodeSkew is what a node's clock, which says when containers ended, may be behind the API server's.
const nodeSkew = 10 * time.Second

// died says whether the container that commands run in ended since the claim was ready: with it went all that ran in it,
// also where the kubelet started it again. One beside it, such as a service mesh's, is no business of the code under test.
func (c *Claim) died(pod *corev1.Pod) (string, End) {
	worker := c.worker(pod)
	for _, s := range pod.Status.ContainerStatuses {
		if worker != "" && s.Name != worker {
			continue
		}
		for _, t := range []*corev1.ContainerStateTerminated{s.State.Terminated, s.LastTerminationState.Terminated} {
			if t == nil || t.FinishedAt.Time.Before(c.since.Add(-nodeSkew)) {
				continue
			}
			end := End{Died: true, OOM: t.Reason == "OOMKilled", Exit: int(t.ExitCode)}
			if end.OOM {
				return fmt.Sprintf("container %s of pod %s was killed for memory", s.Name, c.Pod), end
			}
			return fmt.Sprintf("container %s of pod %s ended: %s, exit status %d", s.Name, c.Pod, t.Reason, t.ExitCode), end
		}
	}
	return "", End{}
}

// defaultContainer is kubectl's annotation on pods.
const defaultContainer = "kubectl.kubernetes.io/default-container"

// worker is the container that commands run in: the one that the run's template names, that the pod does, that declares
// a port of the runtime's, or the first.
func (c *Claim) worker(pod *corev1.Pod) string {
	if c.Container != "" {
		return c.Container
	}
	if name := pod.Annotations[defaultContainer]; name != "" {
		return name
	}
	for _, container := range pod.Spec.Containers {
		if slices.ContainsFunc(container.Ports, func(p corev1.ContainerPort) bool { return slices.Contains(c.ports, int(p.ContainerPort)) }) {
			return container.Name
		}
	}
	if len(pod.Spec.Containers) == 0 {
		return ""
	}
	return pod.Spec.Containers[0].Name
}
