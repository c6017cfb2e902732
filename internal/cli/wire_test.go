package cli

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/sbxrun/sbxrun/pkg/plan"
	"github.com/sbxrun/sbxrun/pkg/recipe"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes"
)

// Every flag reaches the provider: no field of its options is left but those of a run.
func TestClusterOptions(t *testing.T) {
	var f providerFlags
	cmd := &cobra.Command{}
	f.addRun(cmd)
	err := cmd.ParseFlags(strings.Fields(`--provider kubernetes --connection gateway --kubeconfig k --context c --namespace n --token-file t --ca-file ca
		--gateway-name g --gateway-namespace gn --gateway-timeout 7s --router-namespace r --api-url u --pod-ip --cluster-domain d --acquire-timeout 9s --template tp`))
	if err != nil {
		t.Fatal(err)
	}
	want := kubernetes.Options{
		Kubeconfig: "k", Context: "c", Namespace: "n", TokenFile: "t", CAFile: "ca", Connection: kubernetes.ConnectionGateway,
		GatewayName: "g", GatewayNamespace: "gn", GatewayTimeout: 7 * time.Second, RouterNamespace: "r", APIURL: "u", PodIP: true,
		ClusterDomain: "d", AcquireTimeout: 9 * time.Second, Default: kubernetes.Source{Template: "tp"},
	}
	if diff := cmp.Diff(want, f.cluster()); diff != "" {
		t.Error(diff)
	}
	got := reflect.ValueOf(f.cluster())
	for i := range got.NumField() {
		switch name := got.Type().Field(i).Name; name {
		case "Run", "Hold":
		default:
			if got.Field(i).IsZero() {
				t.Errorf("no flag sets %s", name)
			}
		}
	}
	if f.jobs() != 10 {
		t.Errorf("%d samples at a time", f.jobs())
	}
}

// The flags' defaults are the provider's.
func TestClusterDefaults(t *testing.T) {
	var f providerFlags
	f.add(&cobra.Command{})
	got := f.cluster()
	if got.Connection != kubernetes.ConnectionTunnel || got.GatewayTimeout != kubernetes.DefaultGatewayTimeout ||
		got.RouterNamespace != kubernetes.DefaultRouterNamespace || got.AcquireTimeout != kubernetes.DefaultAcquireTimeout {
		t.Errorf("%+v", got)
	}
}

func TestFitCluster(t *testing.T) {
	tests := []struct {
		name, sandboxes, template string
		warnings                  []string
		err                       string
	}{
		{"nothing said", "{a: {}}", "", nil, "nothing says where the sandbox a comes from"},
		{"another name", "{default: {}}", "", nil, "nothing says where the sandbox default comes from"},
		{"one of two", "{a: {image: i}, b: {}}", "", nil, "nothing says where the sandbox b comes from"},
		{"all say it", "{a: {image: i}, b: {template: t}, c: {warmpool: w}, d: {spec: {podTemplate: {}}}}", "", nil, ""},
		{"by flag", "{a: {}}", "t", nil, ""},
		{"local", "{a: {local: {mounts: [{src: /etc}]}}, b: {local: {rootfs: r}}}", "t",
			[]string{"r: local of the sandbox a is not looked at on Kubernetes", "r: local of the sandbox b is not looked at on Kubernetes"}, ""},
	}
	for _, tt := range tests {
		r, err := recipe.Parse(t.TempDir()+"/r.yaml", []byte("version: 1\nname: r\nsandboxes: "+tt.sandboxes+"\nsteps: [{run: 'true'}]\n"))
		if err != nil {
			t.Fatal(err)
		}
		p, err := plan.Build(t.Context(), r, plan.Options{})
		if err != nil {
			t.Fatal(err)
		}
		f := providerFlags{where: where{provider: kubernetesName, template: tt.template}}
		warnings, err := f.fit([]*plan.Plan{p})
		if !cmp.Equal(warnings, tt.warnings) && err == nil {
			t.Errorf("%s: warnings %q", tt.name, warnings)
		}
		if (err == nil) != (tt.err == "") || err != nil && (!strings.Contains(err.Error(), tt.err) || statusOf(err) != exitUsage) {
			t.Errorf("%s: error %v", tt.name, err)
		}
	}
}

// A provider that cannot be opened is none, not one that is nil within.
func TestOpenFails(t *testing.T) {
	t.Setenv("KUBECONFIG", t.TempDir()+"/none")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	f := providerFlags{where: where{provider: kubernetesName}}
	p, err := f.open(t.Context(), sandbox.Run{ID: "x", Dir: t.TempDir()}, 0)
	if p != nil || err == nil || statusOf(err) != exitInfra || !strings.Contains(err.Error(), "kubeconfig") {
		t.Errorf("%v, %v", p, err)
	}
}
