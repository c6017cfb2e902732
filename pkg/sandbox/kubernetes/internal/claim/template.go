package claim

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	core "sigs.k8s.io/agent-sandbox/api/v1beta1"
	v1beta1 "sigs.k8s.io/agent-sandbox/extensions/api/v1beta1"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

const (
	// containerName is that of the one container of templates for an image.
	containerName = "sandbox"
	// graceSeconds is what a pod may take to end: what ran in it is over already.
	graceSeconds = int64(2)
	pythonPort   = 8888
)

// waits says whether a container for this runtime only has to stay: it is entered by exec.
func waits(runtime string) bool { return runtime == "" || runtime == "auto" || runtime == "exec" }

// keepAlive is a first process that waits, reaps what is left to it, and ends when told.
var keepAlive = []string{"/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 86400 & wait $!; done"}

// templateSpec is that of the run's own template for an image or a spec.
func (c *Claims) templateSpec(spec sandbox.Spec) (*v1beta1.SandboxTemplateSpec, error) {
	want := &v1beta1.SandboxTemplateSpec{}
	if len(spec.Cluster.Spec) > 0 {
		if err := strict("spec", spec.Cluster.Spec, want); err != nil {
			return nil, err
		}
		if len(want.PodTemplate.Spec.Containers) == 0 {
			return nil, fmt.Errorf("spec: podTemplate.spec.containers is empty")
		}
		if want.PodTemplate.Spec.HostNetwork && isolated(spec.Network) {
			return nil, fmt.Errorf("spec: podTemplate.spec.hostNetwork is true, and the recipe says network: %s", spec.Network)
		}
		if spec.Network != "" && (want.NetworkPolicy != nil || want.NetworkPolicyManagement != "") {
			return nil, fmt.Errorf("spec: networkPolicy and networkPolicyManagement cannot be said together with the recipe's network: %s", spec.Network)
		}
	} else {
		want.PodTemplate = imagePod(spec)
	}
	if want.PodTemplate.Spec.TerminationGracePeriodSeconds == nil {
		grace := graceSeconds
		want.PodTemplate.Spec.TerminationGracePeriodSeconds = &grace
	}
	limit(&want.PodTemplate.Spec.Containers[0], spec.Limits)
	if len(spec.Cluster.Volumes) > 0 && want.VolumeClaimTemplatesPolicy == "" {
		want.VolumeClaimTemplatesPolicy = v1beta1.VolumeClaimTemplatesPolicyOverrides
	}
	if c.o.Service && want.Service == nil {
		yes := true
		want.Service = &yes
	}
	if want.NetworkPolicy == nil && want.NetworkPolicyManagement == "" {
		want.NetworkPolicyManagement, want.NetworkPolicy = policyFor(spec.Network, c.o.Entrances)
		if pod := &want.PodTemplate.Spec; spec.Network == "" && want.NetworkPolicy != nil && pod.DNSPolicy == "" {
			// As the controller does with its default policy, which this one only widens by who may enter: the
			// cluster's own name server cannot be reached.
			pod.DNSPolicy, pod.DNSConfig = corev1.DNSNone, &corev1.PodDNSConfig{Nameservers: []string{"8.8.8.8", "1.1.1.1"}}
		}
	}
	return want, nil
}

// imagePod runs an image with no privilege and no credentials.
func imagePod(spec sandbox.Spec) core.PodTemplate {
	no := false
	disk := resource.NewQuantity(spec.Limits.WithDefaults().Disk, resource.BinarySI)
	box := corev1.Container{
		Name: containerName, Image: spec.Cluster.Image,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: &no,
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		VolumeMounts: []corev1.VolumeMount{{Name: "workspace", MountPath: sandbox.Workspace}},
	}
	if waits(spec.Cluster.Runtime) {
		box.Command = keepAlive
	} else if port := spec.Cluster.Port; port > 0 || spec.Cluster.Runtime == "python" {
		if port == 0 {
			port = pythonPort
		}
		box.Ports = []corev1.ContainerPort{{ContainerPort: int32(port)}}
		if spec.Cluster.Runtime == "python" { // sandboxd listens on the pod's loopback, where no probe comes
			box.ReadinessProbe = &corev1.Probe{
				ProbeHandler:  corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt(port)}},
				PeriodSeconds: 1, FailureThreshold: 120,
			}
		}
	}
	return core.PodTemplate{Spec: corev1.PodSpec{
		// A container that ended took with it what ran in it: a new one in its place would pass for the same sandbox.
		RestartPolicy: corev1.RestartPolicyNever,
		Containers:    []corev1.Container{box}, AutomountServiceAccountToken: &no, EnableServiceLinks: &no,
		Volumes: []corev1.Volume{{Name: "workspace", VolumeSource: corev1.VolumeSource{
			EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: disk},
		}}},
	}}
}

// limit sets what the recipe limits; its defaults only where the container says nothing. Requests are the limits:
// a sandbox that was promised memory must not be killed because its neighbours were promised it too.
func limit(c *corev1.Container, said sandbox.Limits) {
	if c.Resources.Limits == nil {
		c.Resources.Limits = corev1.ResourceList{}
	}
	defaults := said.WithDefaults()
	apply := func(name corev1.ResourceName, said, otherwise *resource.Quantity) {
		if !said.IsZero() {
			c.Resources.Limits[name] = *said
			delete(c.Resources.Requests, name)
		} else if _, ok := c.Resources.Limits[name]; !ok && otherwise != nil {
			if asked := c.Resources.Requests[name]; asked.Cmp(*otherwise) > 0 {
				otherwise = &asked // a limit below its request is refused
			}
			c.Resources.Limits[name] = *otherwise
		}
	}
	bytes := func(n int64) *resource.Quantity { return resource.NewQuantity(n, resource.BinarySI) }
	apply(corev1.ResourceCPU, resource.NewMilliQuantity(said.CPU, resource.DecimalSI), nil)
	apply(corev1.ResourceMemory, bytes(said.Memory), bytes(defaults.Memory))
	apply(corev1.ResourceEphemeralStorage, bytes(said.Disk), bytes(defaults.Disk))
}

// Warnings says, one line each, what a cluster does not enforce of spec.
func (c *Claims) Warnings(spec sandbox.Spec) []string {
	var lines []string
	l := spec.Limits
	if names := set(said{"pids", l.PIDs}, said{"inodes", l.Inodes}); names != "" {
		lines = append(lines, fmt.Sprintf("limits: %s: not enforced on Kubernetes; the nodes' own limits hold", names))
	}
	if spec.Cluster.Template != "" || spec.Cluster.WarmPool != "" {
		if names := set(said{"cpu", l.CPU}, said{"memory", l.Memory}, said{"disk", l.Disk}); names != "" {
			lines = append(lines, fmt.Sprintf("limits: %s: the template's hold; only for image and spec the recipe's do", names))
		}
	}
	if isolated(spec.Network) {
		lines = append(lines, fmt.Sprintf("network: %s: written as a NetworkPolicy, which holds only where the cluster's network enforces it (sbxrun doctor finds out)", spec.Network))
	}
	return lines
}

type said struct {
	name  string
	value int64
}

// set names the limits that the recipe says.
func set(limits ...said) string {
	var names []string
	for _, l := range limits {
		if l.value > 0 {
			names = append(names, l.name)
		}
	}
	return joined(names)
}
