//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// runtime is what runs commands in a sandbox, and the template that has it.
type runtime struct{ name, template string }

var runtimes = []runtime{{"python", "python"}, {"exec", "plain"}, {"sandboxd", "sandboxd"}}

// now deletes without a grace.
var now = metav1.DeleteOptions{GracePeriodSeconds: new(int64)}

// podOf waits for the pod of the only claim.
func (w *world) podOf() string {
	w.t.Helper()
	var pod string
	w.eventually("the claim has a pod", func() error {
		for _, s := range w.list(sandboxes) {
			for _, o := range s.GetOwnerReferences() {
				if o.Kind == "SandboxClaim" {
					if pod = s.GetAnnotations()["agents.x-k8s.io/pod-name"]; pod == "" {
						pod = s.GetName()
					}
					return nil
				}
			}
		}
		return fmt.Errorf("no sandbox has a claim")
	})
	return pod
}

// The router dies while a command runs: the command goes on in its pod, and its end is learnt from the next router.
func TestRouterKilled(t *testing.T) {
	w := newWorld(t, "python", 2)
	c := w.collector()
	var runs []*started
	for _, m := range []mode{outside[0], outside[1]} {
		s := w.start(append(m.flags(), c.once(t, m.name, 8, ""), "--warmpool", "python")...)
		s.awaits("has-begun")
		runs = append(runs, s)
	}
	if err := api.Resource(pods).Namespace(set.router).DeleteCollection(t.Context(), now, metav1.ListOptions{LabelSelector: "app=sandbox-router"}); err != nil {
		t.Fatal(err)
	}
	for i, s := range runs {
		s.ends(0).verdict("passed", "")
		c.executed(outside[i].name, 1, 1)
	}
	w.clean()
}

// The pod dies while a command runs: an error of the cluster and no failure of the code, and as the command may have had
// effects, it is not run again.
func TestPodKilled(t *testing.T) {
	t.Parallel()
	for _, r := range runtimes {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := w.collector()
			s := w.start(c.once(t, r.name, 60, "sandboxes: {box: {template: "+r.template+", runtime: "+r.name+"}}"))
			s.awaits("has-begun")
			if err := api.Resource(pods).Namespace(w.name).Delete(t.Context(), w.podOf(), now); err != nil {
				t.Fatal(err)
			}
			s.ends(3).verdict("error", "lost").says("pod")
			c.executed(r.name, 1, 0)
			w.clean()
		})
	}
}

// A claim that somebody deletes is the same.
func TestClaimDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.collector()
	s := w.start(c.once(t, "deleted", 60, ""), "--template", "plain")
	s.awaits("has-begun")
	for _, claim := range w.list(claims) {
		if err := api.Resource(claims).Namespace(w.name).Delete(t.Context(), claim.GetName(), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	s.ends(3).verdict("error", "lost").says("deleted")
	c.executed("deleted", 1, 0)
	w.clean()
}

// Every connection to the API server is cut, and with them the tunnel and the watch.
func TestTunnelCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.collector()
	p := newProxy(t)
	for _, r := range runtimes {
		t.Run(r.name, func(t *testing.T) {
			s := w.in(t).startAs(p.kubeconfig, c.once(t, r.name, 5, "sandboxes: {box: {template: "+r.template+", runtime: "+r.name+"}}"))
			s.awaits("has-begun")
			for range 3 {
				p.cut()
				time.Sleep(500 * time.Millisecond)
			}
			s.ends(0).verdict("passed", "")
			c.executed(r.name, 1, 1)
		})
	}
	w.clean()
}

// The API server is away for ten seconds while samples are claimed, run and released.
func TestOwnServerStopped(t *testing.T) {
	cluster := mine(t)
	w := newWorld(t, "python", 2)
	c := w.collector()
	long := w.start(c.once(t, "long", 15, ""), "--warmpool", "python")
	long.awaits("has-begun")
	many := w.start(recipe(t, fmt.Sprintf(`
version: 1
name: many
cases: {matrix: {n: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]}}
steps:
- run: |
    python3 -c 'import urllib.request; urllib.request.urlopen("http://%s:8000/?case-${{ raw(case.n) }}", timeout=20)'
    sleep 1
`, c.ip)), "--warmpool", "python", "-j", "2")
	many.awaits("sample.end")
	t.Cleanup(func() { // also where the test ends in between; what runs already is left alone
		if err := cluster.command("start", "kube-apiserver"); err != nil {
			t.Error(err)
		}
	})
	if err := cluster.command("stop", "kube-apiserver"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Second)
	if err := cluster.command("start", "kube-apiserver"); err != nil {
		t.Fatal(err)
	}
	long.ends(0).verdict("passed", "")
	many.ends(0).verdict("passed", "")
	c.executed("long", 1, 1)
	calls := c.calls()
	for n := 1; n <= 12; n++ {
		if name := fmt.Sprintf("case-%d", n); calls[name] != 1 {
			t.Errorf("%s ran %d times", name, calls[name])
		}
	}
	w.clean()
}

// What cannot be acquired is an error that says why, and leaves nothing.
func TestAcquire(t *testing.T) {
	t.Parallel()
	const template = `
apiVersion: extensions.agents.x-k8s.io/v1beta1
kind: SandboxTemplate
metadata: {name: %s}
spec:
  podTemplate:
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: "%s", %s}]
`
	for _, tt := range []struct {
		name, objects string
		flags         []string
		says          []string
	}{
		{"never-ready", fmt.Sprintf(template, "bad", set.plain, `readinessProbe: {tcpSocket: {port: 1}, periodSeconds: 1}`),
			[]string{"--template", "bad", "--acquire-timeout", "8s"}, []string{"bad", "8s"}},
		{"no-such-image", fmt.Sprintf(template, "bad", "sbxrun.test/none:1", "imagePullPolicy: Never"),
			[]string{"--template", "bad"}, []string{"sbxrun.test/none:1", "cannot start"}},
		{"full-node", fmt.Sprintf(template, "bad", set.plain, `resources: {requests: {cpu: "1000"}}`),
			[]string{"--template", "bad", "--acquire-timeout", "8s"}, []string{"Insufficient cpu"}},
		{"no-such-pool", "", []string{"--warmpool", "none"}, []string{`no warm pool "none"`}},
		{"no-such-template", "", []string{"--template", "none"}, []string{"none"}},
		{"pool-without-template", "{apiVersion: extensions.agents.x-k8s.io/v1beta1, kind: SandboxWarmPool, metadata: {name: orphan}, spec: {replicas: 0, sandboxTemplateRef: {name: none}}}",
			[]string{"--warmpool", "orphan", "--acquire-timeout", "15s"}, []string{"none"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.apply(tt.objects)
			s := w.start(append(tt.flags, recipe(t, "version: 1\nname: none\nsteps: [{run: 'true'}]\n"), "--infra-retries", "0")...)
			s.ends(3).says(tt.says...)
			for _, r := range s.rows() {
				if r.Verdict != "error" || r.Reason != "acquire" {
					t.Errorf("%+v, want error/acquire", r)
				}
			}
			w.clean("bad", "orphan")
		})
	}
}

// A warm pool that is empty is slow, not wrong.
func TestEmptyPool(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply("{apiVersion: extensions.agents.x-k8s.io/v1beta1, kind: SandboxWarmPool, metadata: {name: python}, spec: {replicas: 0, sandboxTemplateRef: {name: python}}}")
	w.start(recipe(t, "version: 1\nname: empty\nsteps: [{run: 'true'}]\n"), "--warmpool", "python").ends(0).verdict("passed", "")
	w.clean()
}

// Gateways that are not there, or have no address.
func TestGateway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, says := range map[string]string{"no-such-gateway": "no-such-gateway", "no-address": "address"} {
		t.Run(name, func(t *testing.T) {
			namespace, _, _ := strings.Cut(set.gateway, "/")
			s := w.in(t).start(recipe(t, "version: 1\nname: none\nsandboxes: {box: {template: python, runtime: python}}\nsteps: [{run: 'true'}]\n"),
				"--connection", "gateway", "--gateway-namespace", namespace, "--gateway-name", name, "--gateway-timeout", "3s")
			s.ends(3).says(name, says)
		})
	}
	w.clean()
}

// Ctrl-C in mid-run ends with 130 and leaves nothing; SIGKILL leaves what gc takes, and only that.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.collector()
	s := w.start(c.once(t, "interrupted", 60, ""), "--template", "plain")
	s.awaits("has-begun")
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	s.ends(130)
	c.executed("interrupted", 1, 0)
	w.clean()
}
