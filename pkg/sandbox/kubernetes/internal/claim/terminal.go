package claim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/agext/levenshtein"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	core "sigs.k8s.io/agent-sandbox/api/v1beta1"
	v1beta1 "sigs.k8s.io/agent-sandbox/extensions/api/v1beta1"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// Reasons of the condition Ready that the claim controller gives.
const (
	reasonMetadata = "InvalidMetadata"
	reasonVolumes  = "VolumeClaimTemplatesError"
	reasonEnv      = "EnvVarsInjectionRejected"
	reasonPool     = "WarmPoolNotFound"
	reasonTemplate = "TemplateNotFound"
)

// hopeless are parts of messages of errors that the controller tries again and again in vain.
var hopeless = []string{"metadata override conflict", "violates PodSecurity", "is not controlled by claim", " is invalid: "}

func missing(c *v1beta1.SandboxClaim) bool {
	r := readiness(c)
	return r != nil && r.Status == metav1.ConditionFalse && (r.Reason == reasonPool || r.Reason == reasonTemplate)
}

// terminal is the error of a claim that will never be ready, or nil.
func (c *Claims) terminal(ctx context.Context, name string, now *v1beta1.SandboxClaim, p *pool) error {
	r := readiness(now)
	if r == nil || r.Status != metav1.ConditionFalse {
		return nil
	}
	fail := func(kind sandbox.Kind, format string, a ...any) error {
		return &sandbox.Error{Op: "acquire", ID: name, Kind: kind, Err: fmt.Errorf(format, a...)}
	}
	switch {
	case r.Reason == reasonMetadata:
		return fail(sandbox.KindUnsupported, "the cluster refuses the claim's labels or annotations for its pod: %s "+
			"(the controller's --allowed-label-domains says which labels may be set; sandbox.users.io by default)", r.Message)
	case r.Reason == reasonVolumes:
		return fail(sandbox.KindUnsupported, "the cluster refuses the claim's volumes: %s (the template's volumeClaimTemplatesPolicy says what is allowed)", r.Message)
	case r.Reason == reasonEnv:
		return fail(sandbox.KindUnsupported, "the cluster refuses the claim: %s", r.Message)
	case r.Reason == reasonPool && !p.own:
		return fail(sandbox.KindUnsupported, "there is no warm pool %q in namespace %q%s", p.name, now.Namespace, c.instead(ctx, true, p.name))
	case r.Reason == reasonTemplate && !p.ownTemplate:
		if p.template == "" {
			return fail(sandbox.KindUnsupported, "warm pool %q: %s", p.name, r.Message)
		}
		return fail(sandbox.KindUnsupported, "there is no template %q in namespace %q%s", p.template, now.Namespace, c.instead(ctx, false, p.template))
	case r.Reason == core.SandboxReasonPodFailed, r.Reason == core.SandboxReasonPodSucceeded:
		why := c.why(ctx, now)
		if p.execOnly && strings.Contains(why, "/bin/sh") {
			return fail(sandbox.KindUnsupported, "%s has no /bin/sh, without which nothing can be run in it: take an image with a shell%s", p.from, why)
		}
		return fail(sandbox.KindUnavailable, "the pod ended before it was ready: %s%s", r.Message, why)
	case r.Reason == v1beta1.ClaimExpiredReason, r.Reason == core.SandboxReasonExpired:
		return fail(sandbox.KindUnavailable, "it expired before it was ready")
	}
	if slices.ContainsFunc(hopeless, func(h string) bool { return strings.Contains(r.Message, h) }) {
		return fail(sandbox.KindUnsupported, "the cluster refuses the sandbox: %s", r.Message)
	}
	return nil
}

// instead says what to do where something was not found, and names what there is of its kind, the nearest first.
func (c *Claims) instead(ctx context.Context, pools bool, name string) string {
	remedy := ": make it, or correct `template` of the recipe or --template, or --namespace"
	if pools {
		remedy = ": make it, or correct `warmpool` of the recipe or --warmpool, or --namespace"
	}
	names, err := c.api.names(cluster.Patience(ctx, 0), pools, "", "")
	if err != nil {
		return remedy
	}
	if len(names) == 0 {
		return remedy + "; there is none at all"
	}
	slices.SortStableFunc(names, func(a, b string) int {
		return levenshtein.Distance(name, a, nil) - levenshtein.Distance(name, b, nil)
	})
	return remedy + "; there is " + strings.Join(names[:min(len(names), 10)], ", ")
}

// peekAfter is longer than what starts well takes, with an image that is there: those cost no request for it.
const peekAfter = 10 * time.Second

// stuck is the error of a claim whose pod waits in vain, or nil. It makes a request, and one more where an image is missing.
func (c *Claims) stuck(ctx context.Context, name string, now *v1beta1.SandboxClaim, p *pool) error {
	ctx, cancel := context.WithTimeout(cluster.Patience(ctx, 0), 5*time.Second)
	defer cancel()
	pods, err := c.o.Cluster.Pods(now.Namespace)
	if err != nil {
		return nil
	}
	podName := cmp.Or(now.Status.SandboxStatus.Name, now.Name)
	pod, err := pods.Get(ctx, podName, metav1.GetOptions{})
	if err != nil {
		return nil // not there yet, or not for this user to see: the limit will say what can be said
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		w := s.State.Waiting
		if w == nil {
			continue
		}
		said := w.Message
		if w.Reason == "ImagePullBackOff" { // older kubelets say why in an event alone
			said = strings.Join(append(c.warnings(ctx, pod.Namespace, podName), said), "; ")
		}
		if remedy := inVain(w.Reason, said); remedy != "" {
			return &sandbox.Error{Op: "acquire", ID: name, Kind: sandbox.KindUnsupported, Err: fmt.Errorf(
				"a pod of %s cannot start: container %s (image %s): %s: %s; %s", p.from, s.Name, s.Image, w.Reason, said, remedy)}
		}
	}
	return nil
}

// inVain says what to do about what a container waits for and will not get; empty: it may come yet.
func inVain(reason, said string) string {
	says := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(said, part) })
	}
	switch reason {
	case "InvalidImageName":
		return "correct the image's name"
	case "ErrImageNeverPull":
		return "load the image into the node, or let imagePullPolicy pull it"
	case "ErrImagePull", "ImagePullBackOff":
		switch {
		case says("denied", "unauthorized", "authentication required", "403 Forbidden"):
			return "correct the image's name, or give the pod's service account an imagePullSecret"
		case says("not found", "manifest unknown", "does not exist"):
			return "correct the image's name and tag"
		}
	case "CreateContainerConfigError":
		if says("not found", "runAsNonRoot") {
			return "correct the pod's spec"
		}
	}
	return ""
}

// late is the error of a wait that was ended: by the caller, or by the limit, which context.DeadlineExceeded is in the
// chain of.
func (c *Claims) late(ctx context.Context, name string, now *v1beta1.SandboxClaim, p *pool) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return cluster.Classify("acquire", name, context.Cause(ctx))
	}
	ask, cancel := context.WithTimeout(cluster.Patience(context.WithoutCancel(ctx), 0), 5*time.Second)
	defer cancel()
	said := "the controller has not looked at the claim: is it running?"
	if r := readiness(now); r != nil {
		said = r.Reason + ": " + r.Message
	}
	within := "in time"
	if c.o.AcquireLimit > 0 {
		within = "within " + c.o.AcquireLimit.String()
	}
	return &sandbox.Error{Op: "acquire", ID: name, Kind: sandbox.KindUnavailable, Err: &lateError{fmt.Sprintf(
		"no sandbox of %s was ready %s: %s%s", p.from, within, strings.TrimSuffix(said, ": "), c.why(ask, now))}}
}

type lateError struct{ text string }

func (e *lateError) Error() string        { return e.text }
func (e *lateError) Is(target error) bool { return target == context.DeadlineExceeded }

// why is what Sandbox, pod and events say, as far as this user may read them. It begins with a separator, or is empty.
func (c *Claims) why(ctx context.Context, now *v1beta1.SandboxClaim) string {
	var said []string
	name := cmp.Or(now.Status.SandboxStatus.Name, now.Name)
	if box, err := c.box(ctx, name); err == nil {
		if s := meta.FindStatusCondition(box.Status.Conditions, string(core.SandboxConditionPodScheduled)); s != nil && s.Status != metav1.ConditionTrue && s.Message != "" {
			said = append(said, s.Reason+": "+s.Message)
		}
	}
	if pods, err := c.o.Cluster.Pods(now.Namespace); err == nil {
		if pod, err := pods.Get(ctx, name, metav1.GetOptions{}); err == nil {
			said = append(said, waiting(pod)...)
		}
	}
	if len(said) == 0 {
		said = c.warnings(ctx, now.Namespace, name)
	}
	slices.Sort(said)
	said = slices.Compact(said)
	if len(said) == 0 {
		return ""
	}
	return "; pod " + name + ": " + strings.Join(said, "; ")
}

// waiting says what a pod's containers wait for.
func waiting(pod *corev1.Pod) []string {
	var said []string
	if pod.Status.Message != "" || pod.Status.Reason != "" {
		said = append(said, strings.Trim(pod.Status.Reason+": "+pod.Status.Message, ": "))
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		switch {
		case s.State.Waiting != nil:
			line := fmt.Sprintf("container %s (image %s): %s", s.Name, s.Image, strings.Trim(s.State.Waiting.Reason+": "+s.State.Waiting.Message, ": "))
			if t := s.LastTerminationState.Terminated; t != nil {
				line += fmt.Sprintf(" (it ended with %s, exit status %d)", t.Reason, t.ExitCode)
			}
			said = append(said, line)
		case s.State.Terminated != nil:
			t := s.State.Terminated
			said = append(said, fmt.Sprintf("container %s ended: %s, exit status %d %s", s.Name, t.Reason, t.ExitCode, t.Message))
		case s.State.Running != nil && !s.Ready:
			said = append(said, fmt.Sprintf("container %s runs, but its readiness probe does not succeed", s.Name))
		}
	}
	return said
}

// warnings are the last events about a pod.
func (c *Claims) warnings(ctx context.Context, namespace, pod string) []string {
	events, err := c.o.Cluster.Events(namespace)
	if err != nil {
		return nil
	}
	list, err := events.List(ctx, metav1.ListOptions{
		FieldSelector: fields.Set{"involvedObject.name": pod, "type": corev1.EventTypeWarning}.String(), Limit: 50,
	})
	if err != nil {
		return nil
	}
	var said []string
	for _, e := range list.Items[max(0, len(list.Items)-3):] {
		said = append(said, e.Reason+": "+e.Message)
	}
	return said
}
