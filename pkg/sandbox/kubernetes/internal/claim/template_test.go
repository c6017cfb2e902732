package claim

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	v1beta1 "sigs.k8s.io/agent-sandbox/extensions/api/v1beta1"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

func TestImageTemplate(t *testing.T) {
	for _, runtime := range []string{"", "auto", "exec", "python", "sandboxd"} {
		c := &Claims{o: Options{Entrances: []Peer{defaultRouter}}}
		got, err := c.templateSpec(sandbox.Spec{
			Limits: sandbox.Limits{CPU: 1500, Memory: 64 << 20}, Cluster: sandbox.Cluster{Image: "img", Runtime: runtime, Port: 9000},
		})
		if err != nil {
			t.Fatal(err)
		}
		pod := got.PodTemplate.Spec
		box := pod.Containers[0]
		if pod.HostNetwork || pod.HostPID || *pod.AutomountServiceAccountToken || pod.RestartPolicy != corev1.RestartPolicyNever || *pod.TerminationGracePeriodSeconds > 5 {
			t.Errorf("%s: pod %+v", runtime, pod)
		}
		if s := box.SecurityContext; *s.AllowPrivilegeEscalation || !slices.Contains(s.Capabilities.Drop, "ALL") || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: security %+v", runtime, s)
		}
		l := box.Resources.Limits
		if l.Cpu().MilliValue() != 1500 || l.Memory().Value() != 64<<20 || l.StorageEphemeral().Value() != sandbox.DefaultLimits.Disk || len(box.Resources.Requests) != 0 {
			t.Errorf("%s: resources %+v", runtime, box.Resources)
		}
		if (len(box.Command) > 0) != waits(runtime) || (len(box.Ports) > 0) == waits(runtime) || (box.ReadinessProbe != nil) != (runtime == "python") {
			t.Errorf("%s: command %q, ports %v, probe %v", runtime, box.Command, box.Ports, box.ReadinessProbe)
		}
		if got.NetworkPolicy != nil || got.NetworkPolicyManagement != v1beta1.NetworkPolicyManagementManaged {
			t.Errorf("%s: network %+v", runtime, got)
		}
	}
}

func TestSpecTemplate(t *testing.T) {
	const container = `"containers":[{"name":"a","image":"i","resources":{"requests":{"memory":"1Mi"},"limits":{"memory":"2Mi"}}}]`
	for _, test := range []struct {
		name, spec string
		network    sandbox.Network
		limits     sandbox.Limits
		want       string // of the error
		memory     int64
	}{
		{name: "its own limits stay", spec: `{"podTemplate":{"spec":{` + container + `}}}`, memory: 2 << 20},
		{name: "the recipe's win", spec: `{"podTemplate":{"spec":{` + container + `}}}`, limits: sandbox.Limits{Memory: 8 << 20}, memory: 8 << 20},
		{name: "no limit below its request", spec: `{"podTemplate":{"spec":{"containers":[{"name":"a","resources":{"requests":{"memory":"3Gi"}}}]}}}`, memory: 3 << 30},
		{name: "defaults", spec: `{"podTemplate":{"spec":{"containers":[{"name":"a"}]}}}`, memory: sandbox.DefaultLimits.Memory},
		{name: "host network", spec: `{"podTemplate":{"spec":{"hostNetwork":true,` + container + `}}}`, network: sandbox.NetworkNone, want: "hostNetwork"},
		{name: "two policies", spec: `{"networkPolicy":{},"podTemplate":{"spec":{` + container + `}}}`, network: sandbox.NetworkNone, want: "networkPolicy"},
		{name: "its own policy", spec: `{"networkPolicyManagement":"Unmanaged","podTemplate":{"spec":{` + container + `}}}`, memory: 2 << 20},
		{name: "no JSON", spec: `{`, want: "spec: "},
		{name: "another type", spec: `{"podTemplate":[]}`, want: "spec: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := (&Claims{}).templateSpec(sandbox.Spec{Network: test.network, Limits: test.limits, Cluster: sandbox.Cluster{Spec: []byte(test.spec)}})
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%v, want %q", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if m := got.PodTemplate.Spec.Containers[0].Resources.Limits.Memory().Value(); m != test.memory {
				t.Errorf("memory %d, want %d", m, test.memory)
			}
		})
	}
}

func TestPolicyFor(t *testing.T) {
	here := Peer{IP: "10.1.2.3"}
	for _, test := range []struct {
		network   sandbox.Network
		entrances []Peer
		unmanaged bool
		own       bool // a policy is written
		ingress   int
		egress    int
	}{
		{sandbox.NetworkHost, []Peer{here}, true, false, 0, 0},
		{sandbox.NetworkNone, nil, false, true, 0, 0},
		{sandbox.NetworkNone, []Peer{defaultRouter, here}, false, true, 2, 0},
		{sandbox.NetworkCase, []Peer{defaultRouter}, false, true, 1, 0},
		{"", nil, false, false, 0, 0},
		{"", []Peer{defaultRouter}, false, false, 0, 0},
		{"", []Peer{{Namespace: "elsewhere", Labels: map[string]string{"app": "sandbox-router"}}}, false, true, 1, 1},
		{"", []Peer{{IP: "fd00::1"}}, false, true, 1, 1},
	} {
		management, p := policyFor(test.network, test.entrances)
		if (management == v1beta1.NetworkPolicyManagementUnmanaged) != test.unmanaged || (p != nil) != test.own {
			t.Errorf("%q %v: %v %+v", test.network, test.entrances, management, p)
			continue
		}
		if p == nil {
			continue
		}
		peers := 0
		for _, r := range p.Ingress {
			peers += len(r.From)
		}
		if peers != test.ingress || len(p.Egress) != test.egress || len(p.Ingress) > 1 {
			t.Errorf("%q %v: %+v", test.network, test.entrances, p)
		}
	}
	if got := ingress([]Peer{{IP: "fd00::1"}})[0].IPBlock.CIDR; got != "fd00::1/128" {
		t.Error(got)
	}
}

func TestOpens(t *testing.T) {
	router := networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "r"}}, NamespaceSelector: &metav1.LabelSelector{}}
	policy := func(in []networkingv1.NetworkPolicyPeer, egress ...networkingv1.NetworkPolicyEgressRule) v1beta1.SandboxTemplateSpec {
		return v1beta1.SandboxTemplateSpec{NetworkPolicy: &v1beta1.NetworkPolicySpec{
			Ingress: []networkingv1.NetworkPolicyIngressRule{{From: in}}, Egress: egress}}
	}
	peers := func(p ...networkingv1.NetworkPolicyPeer) []networkingv1.NetworkPolicyPeer { return p }
	unmanaged := policy(peers(router))
	unmanaged.NetworkPolicyManagement = v1beta1.NetworkPolicyManagementUnmanaged
	host := policy(peers(router))
	host.PodTemplate.Spec.HostNetwork = true
	for name, test := range map[string]struct {
		spec v1beta1.SandboxTemplateSpec
		want string
	}{
		"closed":       {v1beta1.SandboxTemplateSpec{NetworkPolicy: &v1beta1.NetworkPolicySpec{}}, ""},
		"router":       {policy(peers(router)), ""},
		"none":         {v1beta1.SandboxTemplateSpec{}, "internet"},
		"unmanaged":    {unmanaged, "Unmanaged"},
		"host":         {host, "node's network"},
		"egress":       {policy(peers(router), networkingv1.NetworkPolicyEgressRule{}), "egress"},
		"anyone":       {policy(nil), "everyone"},
		"all pods":     {policy(peers(networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{}})), "everyone"},
		"namespace":    {policy(peers(networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{}})), "every pod"},
		"all of ipv4":  {policy(peers(router, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0"}})), "everyone"},
		"one address":  {policy(peers(networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.1/32"}})), ""},
		"of namespace": {policy(peers(networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}})), ""},
	} {
		if got := opens(&test.spec); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestWarnings(t *testing.T) {
	c := &Claims{}
	all := sandbox.Limits{CPU: 1, Memory: 1, PIDs: 1, Disk: 1, Inodes: 1, Files: 1, Output: 1}
	for _, test := range []struct {
		spec sandbox.Spec
		want []string
	}{
		{sandbox.Spec{Cluster: sandbox.Cluster{Image: "i"}}, nil},
		{sandbox.Spec{Limits: all, Cluster: sandbox.Cluster{Image: "i"}}, []string{"limits: pids, inodes: not enforced"}},
		{sandbox.Spec{Limits: sandbox.Limits{Memory: 1}, Cluster: sandbox.Cluster{Template: "t"}}, []string{"limits: memory: the template's"}},
		{sandbox.Spec{Network: sandbox.NetworkCase, Cluster: sandbox.Cluster{Image: "i"}}, []string{"network: case"}},
	} {
		got := c.Warnings(test.spec)
		if len(got) != len(test.want) {
			t.Errorf("%+v: %q", test.spec, got)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], test.want[i]) {
				t.Errorf("%q, want %q", got[i], test.want[i])
			}
		}
	}
}

func TestPoolKey(t *testing.T) {
	base := sandbox.Spec{Group: "a", Labels: map[string]string{"case": "1"}, Cluster: sandbox.Cluster{Image: "i"}}
	same := base
	same.Group, same.Labels, same.Cluster.PodLabels = "b", nil, map[string]string{"x": "y"}
	one, err := poolKey(base)
	if err != nil {
		t.Fatal(err)
	}
	if two, err := poolKey(same); err != nil || two != one {
		t.Errorf("what the claim says needs no template of its own: %v", err)
	}
	for name, change := range map[string]func(s *sandbox.Spec){
		"image":   func(s *sandbox.Spec) { s.Cluster.Image = "j" },
		"network": func(s *sandbox.Spec) { s.Network = sandbox.NetworkNone },
		"memory":  func(s *sandbox.Spec) { s.Limits.Memory = 1 },
		"runtime": func(s *sandbox.Spec) { s.Cluster.Runtime = "python" },
		"port":    func(s *sandbox.Spec) { s.Cluster.Port = 1 },
		"volumes": func(s *sandbox.Spec) { s.Cluster.Volumes = []byte(`[]`) },
	} {
		other := base
		change(&other)
		if two, err := poolKey(other); err != nil || two == one {
			t.Errorf("%s makes no difference: %v", name, err)
		}
	}
}
