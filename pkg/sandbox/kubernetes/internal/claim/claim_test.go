package claim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// soon is far more than anything here takes: a test that reaches it hangs.
const soon = 30 * time.Second

func open(t *testing.T, f *fake, o Options) *Claims {
	t.Helper()
	o.Cluster = f.cluster()
	if o.Run.ID == "" {
		o.Run.ID = "r1"
	}
	c, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	t.Cleanup(cancel)
	return ctx
}

var warm = Request{Spec: sandbox.Spec{Cluster: sandbox.Cluster{WarmPool: "pool"}}, Lifetime: time.Hour, Ports: []int{8888}}

func acquire(t *testing.T, c *Claims, r Request) *Claim {
	t.Helper()
	cl, err := c.Acquire(within(t), r)
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

func closed(t *testing.T, c *Claims) {
	t.Helper()
	if err := c.Close(within(t)); err != nil {
		t.Error(err)
	}
}

// nothing checks that a run left nothing behind.
func nothing(t *testing.T, f *fake) {
	t.Helper()
	for _, r := range []string{"sandboxclaims", "sandboxtemplates", "sandboxwarmpools", "networkpolicies", "leases"} {
		if left := f.names(r); len(left) > 0 {
			t.Errorf("left behind: %s %v", r, left)
		}
	}
}

func TestLifecycle(t *testing.T) {
	for _, version := range []string{"v1beta1", "v1alpha1"} {
		t.Run(version, func(t *testing.T) {
			f := newFake(t)
			f.version = version
			f.put("ADDED", "sandboxwarmpools", object{"metadata": object{"name": "pool"}, "spec": object{"sandboxTemplateRef": object{"name": "tmpl"}}})
			c := open(t, f, Options{})
			r := warm
			r.Spec.Labels = map[string]string{"case": "a/b \"c\"\n\xff", "sample nr": "1"}
			r.Spec.Cluster.Labels = map[string]string{"team": "x", labelRun: "another"}
			r.Spec.Cluster.PodLabels = map[string]string{"sandbox.users.io/a": "b"}
			cl := acquire(t, c, r)
			if cl.Name != "sbx-r1-1" || cl.Sandbox != "box-sbx-r1-1" || cl.Pod != cl.Sandbox || !slices.Equal(cl.PodIPs, []string{"10.0.0.1"}) || cl.Namespace != "ns" {
				t.Errorf("claim %+v", cl)
			}
			o := f.get("sandboxclaims", cl.Name)
			m := metaOf(o)
			if l := m["labels"].(object); l[labelRun] != "r1" || l["team"] != "x" || l[labelManaged] != managed {
				t.Errorf("labels %v", l)
			}
			if a := m["annotations"].(object); a[domain+"case"] != "a/b \"c\"\n\uFFFD" || a[domain+"sample-nr"] != "1" {
				t.Errorf("annotations %v", a)
			}
			if owner := m["ownerReferences"].([]any)[0].(object); owner["kind"] != "Lease" || owner["name"] != "sbx-r1" {
				t.Errorf("owner %v", owner)
			}
			spec := o["spec"].(object)
			life := spec["lifecycle"].(object)
			end, err := time.Parse(time.RFC3339, life["shutdownTime"].(string))
			if err != nil || life["shutdownPolicy"] != "DeleteForeground" || time.Until(end) > time.Hour+time.Minute || time.Until(end) < time.Hour-time.Minute {
				t.Errorf("lifecycle %v: %v", life, err)
			}
			if version == "v1alpha1" {
				if spec["sandboxTemplateRef"].(object)["name"] != "tmpl" || spec["warmpool"] != "pool" {
					t.Errorf("spec %v", spec)
				}
			} else if spec["warmPoolRef"].(object)["name"] != "pool" {
				t.Errorf("spec %v", spec)
			}
			if err := c.Release(within(t), cl); err != nil {
				t.Error(err)
			}
			if left := f.names("sandboxclaims"); len(left) > 0 {
				t.Errorf("released, and there is %v", left)
			}
			if err := c.Release(within(t), cl); err != nil {
				t.Error("a second time:", err)
			}
			closed(t, c)
			closed(t, c)
			f.drop("sandboxwarmpools", "pool")
			nothing(t, f)
			if _, err := c.Acquire(within(t), warm); sandbox.KindOf(err) != sandbox.KindReleased {
				t.Errorf("after Close: %v", err)
			}
		})
	}
}

func TestOwnTemplates(t *testing.T) {
	for _, version := range []string{"v1beta1", "v1alpha1"} {
		t.Run(version, func(t *testing.T) {
			f := newFake(t)
			f.version = version
			c := open(t, f, Options{})
			image := Request{Spec: sandbox.Spec{Network: sandbox.NetworkNone, Cluster: sandbox.Cluster{Image: "busybox"}}}
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() { acquire(t, c, image) })
			}
			wg.Wait()
			acquire(t, c, Request{Spec: sandbox.Spec{Cluster: sandbox.Cluster{Template: "theirs"}}})
			if n := len(f.names("sandboxtemplates")); n != 1 {
				t.Errorf("%d templates for ten sandboxes of one image", n)
			}
			pools := 2
			if version == "v1alpha1" {
				pools = 0
			}
			if n := len(f.names("sandboxwarmpools")); n != pools {
				t.Errorf("%d pools, want %d", n, pools)
			}
			closed(t, c)
			nothing(t, f)
		})
	}
}

// A recipe may have an image for each case.
func TestManyOwnTemplates(t *testing.T) {
	f := newFake(t)
	c := open(t, f, Options{})
	const n = 3 * parallel
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			acquire(t, c, Request{Spec: sandbox.Spec{Cluster: sandbox.Cluster{Image: fmt.Sprint("image-", i)}}})
		})
	}
	wg.Wait()
	if got := len(f.names("sandboxwarmpools")); got != n {
		t.Errorf("%d pools", got)
	}
	closed(t, c)
	nothing(t, f)
}

// TestRequests holds the budget: create and delete, and what belongs to the run.
func TestRequests(t *testing.T) {
	f := newFake(t)
	c := open(t, f, Options{})
	const n = 200
	var wg sync.WaitGroup
	slots := make(chan struct{}, 20)
	for range n {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			cl := acquire(t, c, warm)
			if err := c.Release(within(t), cl); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	closed(t, c)
	nothing(t, f)
	if got := f.count("all"); got > 2*n+12 {
		t.Errorf("%d requests for %d sandboxes: %v", got, n, f.requests)
	}
	if got := c.o.Cluster.Requests.Total(); int(got) != f.count("all") {
		t.Errorf("counted %d requests, the server %d", got, f.count("all"))
	}
}

func TestFaults(t *testing.T) {
	for _, test := range []struct {
		name   string
		before func(f *fake)
		held   func(f *fake)
	}{
		{name: "lost answers", before: func(f *fake) { f.lose = 2 }},
		{name: "throttled", before: func(f *fake) { f.busy = 3 }, held: func(f *fake) { f.busy = 3 }},
		{name: "watch cut", held: func(f *fake) { go f.cut(false) }},
		{name: "watch cut and history forgotten", held: func(f *fake) { go f.cut(true) }},
		{name: "away", held: func(f *fake) {
			f.away = true
			go f.cut(false)
			time.AfterFunc(500*time.Millisecond, func() { f.set(func() { f.away = false }) })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t)
			c := open(t, f, Options{})
			if test.before != nil {
				f.set(func() { test.before(f) })
			}
			one := acquire(t, c, warm)
			if test.held != nil {
				f.set(func() { test.held(f) })
			}
			two := acquire(t, c, warm)
			for _, cl := range []*Claim{one, two} {
				if err := c.Release(within(t), cl); err != nil {
					t.Error(err)
				}
				if cl.Cause() != nil {
					t.Errorf("%s: %v", cl.Name, cl.Cause())
				}
			}
			closed(t, c)
			nothing(t, f)
		})
	}
}

func TestDeletedWhileNobodyWatched(t *testing.T) {
	f := newFake(t)
	c := open(t, f, Options{})
	cl := acquire(t, c, warm)
	f.set(func() { f.away = true })
	f.cut(true)
	f.drop("sandboxclaims", cl.Name)
	f.cut(true)
	f.set(func() { f.away = false })
	select {
	case <-cl.Gone():
	case <-time.After(soon):
		t.Fatal("not noticed")
	}
	closed(t, c)
}

func condition(reason, message string) func(object) (object, bool) {
	return func(object) (object, bool) {
		return object{"type": "Ready", "status": "False", "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"}, true
	}
}

func TestAcquireRefused(t *testing.T) {
	for _, test := range []struct {
		name    string
		prepare func(f *fake)
		request Request
		kind    sandbox.Kind
		want    []string
	}{
		{"metadata", func(f *fake) { f.condition = condition("InvalidMetadata", "label x is not allowed") }, warm, sandbox.KindUnsupported, []string{"label x is not allowed", "--allowed-label-domains"}},
		{"volumes", func(f *fake) { f.condition = condition("VolumeClaimTemplatesError", "disallowed") }, warm, sandbox.KindUnsupported, []string{"volumeClaimTemplatesPolicy"}},
		{"no pool", func(f *fake) {
			f.condition = condition("WarmPoolNotFound", "")
			f.put("ADDED", "sandboxwarmpools", object{"metadata": object{"name": "pools"}})
		}, warm, sandbox.KindUnsupported, []string{`no warm pool "pool"`, "there is pools"}},
		{"no template", func(f *fake) { f.condition = condition("TemplateNotFound", "") },
			Request{Spec: sandbox.Spec{Cluster: sandbox.Cluster{Template: "t"}}}, sandbox.KindUnsupported, []string{`no template "t"`, "none at all"}},
		{"conflict", func(f *fake) { f.condition = condition("ReconcilerError", "metadata override conflict: label") }, warm, sandbox.KindUnsupported, []string{"override conflict"}},
		{"invalid pod", func(f *fake) {
			f.condition = condition("ReconcilerError", `Error seen: Pod "p" is invalid: spec.containers[0].name: Invalid value: "A_b"`)
		}, warm, sandbox.KindUnsupported, []string{`Invalid value: "A_b"`}},
		{"pod failed", func(f *fake) { f.condition = condition("PodFailed", "Pod failed") }, warm, sandbox.KindUnavailable, []string{"ended before it was ready"}},
		{"nothing said", nil, Request{}, sandbox.KindUnsupported, []string{"--warmpool"}},
		{"two said", nil, Request{Spec: sandbox.Spec{Cluster: sandbox.Cluster{WarmPool: "a", Image: "b"}}}, sandbox.KindUnsupported, []string{"only one"}},
		{"create forbidden", func(f *fake) { f.forbidden["create sandboxclaims"] = true }, warm, sandbox.KindUnsupported, []string{`user "me" may not create sandboxclaims`, `verbs: ["create"]`}},
		{"watch and list forbidden", func(f *fake) {
			f.forbidden["watch sandboxclaims"], f.forbidden["list sandboxclaims"] = true, true
			f.condition = func(object) (object, bool) { return nil, false }
		}, warm, sandbox.KindUnsupported, []string{`sandboxclaims in namespace "ns"`, "may not"}},
		{"lease forbidden", func(f *fake) { f.forbidden["create leases"] = true }, warm, sandbox.KindUnsupported, []string{"may not create leases"}},
		{"template forbidden", func(f *fake) { f.forbidden["create sandboxtemplates"] = true },
			Request{Spec: sandbox.Spec{Cluster: sandbox.Cluster{Image: "b"}}}, sandbox.KindUnsupported, []string{"may not create sandboxtemplates"}},
		{"unknown field", nil, Request{Spec: sandbox.Spec{Cluster: sandbox.Cluster{Spec: []byte(`{"podTemplate":{"spec":{"container":[]}}}`)}}}, sandbox.KindInvalid, []string{`unknown field "podTemplate.spec.container"`}},
		{"no container", nil, Request{Spec: sandbox.Spec{Cluster: sandbox.Cluster{Spec: []byte(`{}`)}}}, sandbox.KindInvalid, []string{"containers is empty"}},
		{"bad volumes", nil, Request{Spec: sandbox.Spec{Cluster: sandbox.Cluster{WarmPool: "p", Volumes: []byte(`[{"x":1}]`)}}}, sandbox.KindInvalid, []string{`volumes: unknown field`}},
		{"open template", func(f *fake) {
			f.put("ADDED", "sandboxtemplates", object{"metadata": object{"name": "t"}, "spec": object{}})
		}, Request{Spec: sandbox.Spec{Network: sandbox.NetworkNone, Cluster: sandbox.Cluster{Template: "t"}}}, sandbox.KindUnsupported, []string{"network: none", `template "t"`, "networkPolicy: {"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t)
			if test.prepare != nil {
				f.set(func() { test.prepare(f) })
			}
			c := open(t, f, Options{})
			cl, err := c.Acquire(within(t), test.request)
			if err == nil {
				t.Fatalf("got %v", cl)
			}
			if _, ok := errors.AsType[*sandbox.Error](err); !ok || sandbox.KindOf(err) != test.kind {
				t.Errorf("kind %v, want %v: %v", sandbox.KindOf(err), test.kind, err)
			}
			for _, w := range test.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v\ndoes not say %q", err, w)
				}
			}
			f.set(func() { clear(f.forbidden) })
			closed(t, c)
			if left := f.names("sandboxclaims"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestLimitSaysWhy(t *testing.T) {
	f := newFake(t)
	f.condition = condition("DependenciesNotReady", "Pod exists with phase: Pending")
	f.set(func() {
		f.put("ADDED", "pods", object{"metadata": object{"name": "box-sbx-r1-1"}, "status": object{"containerStatuses": []object{{
			"name": "main", "image": "nope:1", "state": object{"waiting": object{"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}}}}})
	})
	c := open(t, f, Options{AcquireLimit: 300 * time.Millisecond})
	_, err := c.Acquire(within(t), warm)
	if err == nil || sandbox.KindOf(err) != sandbox.KindUnavailable {
		t.Fatal(err)
	}
	for _, w := range []string{`warm pool "pool"`, "within 300ms", "Pending", "nope:1", "ImagePullBackOff"} {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v\ndoes not say %q", err, w)
		}
	}
	closed(t, c)
	nothing(t, f)
}

// The trace goes on with the claim: Agent Sandbox's controller continues it from an annotation.
func TestTraceOnClaim(t *testing.T) {
	f := newFake(t)
	c := open(t, f, Options{Trace: true})
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	cl, err := c.Acquire(trace.ContextWithSpanContext(within(t), span), warm)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"traceparent":"00-01000000000000000000000000000000-0200000000000000-01"}`
	if got := metaOf(f.get("sandboxclaims", cl.Name))["annotations"].(object)["opentelemetry.io/trace-context"]; got != want {
		t.Errorf("%v, want %v", got, want)
	}
	untraced := acquire(t, c, warm)
	if got, ok := metaOf(f.get("sandboxclaims", untraced.Name))["annotations"].(object)["opentelemetry.io/trace-context"]; ok {
		t.Errorf("without a trace: %v", got)
	}
	closed(t, c)
}

// What a container waits for in vain ends the wait, and is nothing to try again; what may still come does not.
func TestStuck(t *testing.T) {
	for _, test := range []struct {
		reason, message, event string
		want                   string // empty: the wait goes on to its limit
	}{
		{"InvalidImageName", `couldn't parse image name "A"`, "", "correct the image's name"},
		{"ErrImageNeverPull", "Container image is not present with pull policy of Never", "", "load the image"},
		{"ErrImagePull", "failed to resolve reference: docker.io/library/debain:13: not found", "", "name and tag"},
		{"ImagePullBackOff", `Back-off pulling image "debain"`, `Failed to pull image "debain": pull access denied`, "imagePullSecret"},
		{"ImagePullBackOff", `Back-off pulling image "debian"`, "dial tcp 192.0.2.1:443: i/o timeout", ""},
		{"CreateContainerConfigError", `secret "token" not found`, "", "correct the pod's spec"},
		{"CreateContainerConfigError", "failed to sync secret cache: timed out waiting for the condition", "", ""},
		{"ContainerCreating", "", "", ""},
	} {
		t.Run(test.reason+" "+test.want, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.condition = condition("DependenciesNotReady", "Pod exists with phase: Pending")
			f.set(func() {
				f.put("ADDED", "pods", object{"metadata": object{"name": "box-sbx-r1-1", "namespace": "ns"}, "status": object{"containerStatuses": []object{{
					"name": "main", "image": "debain", "state": object{"waiting": object{"reason": test.reason, "message": test.message}}}}}})
				if test.event != "" {
					f.put("ADDED", "events", object{"metadata": object{"name": "e"}, "type": "Warning", "reason": "Failed", "message": test.event})
				}
			})
			limit := soon
			if test.want == "" {
				limit = 300 * time.Millisecond
			}
			c := open(t, f, Options{AcquireLimit: limit, Peek: time.Millisecond})
			_, err := c.Acquire(within(t), warm)
			late := errors.Is(err, context.DeadlineExceeded)
			switch {
			case test.want == "" && (!late || sandbox.KindOf(err) != sandbox.KindUnavailable):
				t.Errorf("%v, want the end of the limit", err)
			case test.want != "" && (late || sandbox.KindOf(err) != sandbox.KindUnsupported || !strings.Contains(err.Error(), test.want) ||
				!strings.Contains(err.Error(), "debain") || !strings.Contains(err.Error(), test.message)):
				t.Errorf("%v, want %q", err, test.want)
			}
			closed(t, c)
			nothing(t, f)
		})
	}
}

func TestCancelledAcquireLeavesNothing(t *testing.T) {
	f := newFake(t)
	f.condition = func(object) (object, bool) { return nil, false }
	c := open(t, f, Options{})
	cause := errors.New("stop it")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { cancel(cause) })
	if _, err := c.Acquire(ctx, warm); !errors.Is(err, cause) {
		t.Errorf("%v is not the cause", err)
	}
	closed(t, c)
	nothing(t, f)
}

func TestCloseEndsAcquires(t *testing.T) {
	f := newFake(t)
	f.condition = func(object) (object, bool) { return nil, false }
	c := open(t, f, Options{})
	done := make(chan error)
	for range 5 {
		go func() {
			_, err := c.Acquire(context.Background(), warm)
			done <- err
		}()
	}
	for len(f.names("sandboxclaims")) < 5 {
		time.Sleep(time.Millisecond)
	}
	closed(t, c)
	for range 5 {
		if err := <-done; sandbox.KindOf(err) != sandbox.KindReleased {
			t.Error(err)
		}
	}
	nothing(t, f)
}

func TestGone(t *testing.T) {
	ready := func(o object) object { return o["status"].(object)["conditions"].([]any)[0].(object) }
	pod := func(f *fake, name string, status object) {
		f.set(func() {
			f.put("ADDED", "pods", object{"metadata": object{"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"}, "status": status})
		})
	}
	now := func() string { return time.Now().Add(time.Minute).UTC().Format(time.RFC3339) }
	for _, test := range []struct {
		name string
		do   func(f *fake, cl *Claim)
		want string // empty: it is not gone
		end  End
	}{
		{"claim deleted", func(f *fake, cl *Claim) { f.drop("sandboxclaims", cl.Name) }, "deleted by another program", End{}},
		{"expired", func(f *fake, cl *Claim) {
			f.edit("sandboxclaims", cl.Name, func(o object) { ready(o)["status"], ready(o)["reason"] = "False", "ClaimExpired" })
		}, "it expired", End{}},
		{"sandbox replaced", func(f *fake, cl *Claim) {
			f.edit("sandboxclaims", cl.Name, func(o object) { o["status"].(object)["sandbox"].(object)["name"] = "other" })
		}, "another one took its place", End{}},
		{"pod replaced", func(f *fake, cl *Claim) {
			f.edit("sandboxclaims", cl.Name, func(o object) { o["status"].(object)["sandbox"].(object)["podIPs"] = []any{"10.0.0.9"} })
		}, "another one took its place", End{}},
		{"pod gone", func(f *fake, cl *Claim) {
			f.edit("sandboxclaims", cl.Name, func(o object) {
				ready(o)["status"], ready(o)["reason"], ready(o)["message"] = "False", "DependenciesNotReady", "Pod does not exist"
			})
		}, "is gone", End{}},
		{"killed for memory", func(f *fake, cl *Claim) {
			pod(f, cl.Pod, object{"containerStatuses": []object{{"name": "main", "state": object{"terminated": object{"reason": "OOMKilled", "exitCode": 137, "finishedAt": now()}}}}})
			f.edit("sandboxclaims", cl.Name, func(o object) { ready(o)["status"], ready(o)["reason"] = "False", "PodFailed" })
		}, "killed for memory", End{Died: true, OOM: true, Exit: 137}},
		{"a sidecar crashed", func(f *fake, cl *Claim) {
			f.set(func() {
				f.put("ADDED", "pods", object{"metadata": object{"name": cl.Pod, "creationTimestamp": "2026-01-01T00:00:00Z"},
					"spec": object{"containers": []object{{"name": "proxy"}, {"name": "main", "ports": []object{{"containerPort": 8888}}}}},
					"status": object{"phase": "Running", "containerStatuses": []object{
						{"name": "main", "state": object{"running": object{}}},
						{"name": "proxy", "state": object{"waiting": object{"reason": "CrashLoopBackOff"}},
							"lastState": object{"terminated": object{"reason": "Error", "exitCode": 1, "finishedAt": now()}}},
					}}})
			})
			f.edit("sandboxclaims", cl.Name, func(o object) {
				ready(o)["status"], ready(o)["reason"], ready(o)["message"] = "False", "DependenciesNotReady", "Pod is Running but not Ready"
			})
		}, "", End{}},
		{"restarted", func(f *fake, cl *Claim) {
			pod(f, cl.Pod, object{"containerStatuses": []object{{"name": "main", "state": object{"running": object{}}, "restartCount": 1,
				"lastState": object{"terminated": object{"reason": "Error", "exitCode": 143, "finishedAt": now()}}}}})
			f.edit("sandboxclaims", cl.Name, func(o object) { ready(o)["status"], ready(o)["reason"] = "False", "DependenciesNotReady" })
		}, "exit status 143", End{Died: true, Exit: 143}},
		{"evicted", func(f *fake, cl *Claim) {
			pod(f, cl.Pod, object{"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."})
			f.edit("sandboxclaims", cl.Name, func(o object) { ready(o)["status"], ready(o)["reason"] = "False", "PodFailed" })
		}, "low on resource", End{}},
		{"pod failed, and nobody may look", func(f *fake, cl *Claim) {
			f.set(func() { f.forbidden["get pods"] = true })
			f.edit("sandboxclaims", cl.Name, func(o object) { ready(o)["status"], ready(o)["reason"] = "False", "PodFailed" })
		}, "PodFailed", End{}},
		{"a probe failed once", func(f *fake, cl *Claim) {
			pod(f, cl.Pod, object{"phase": "Running", "podIPs": []object{{"ip": "10.0.0.1"}}})
			f.edit("sandboxclaims", cl.Name, func(o object) {
				ready(o)["status"], ready(o)["reason"], ready(o)["message"] = "False", "DependenciesNotReady", "Pod is Running but not Ready"
			})
		}, "", End{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t)
			c := open(t, f, Options{})
			cl := acquire(t, c, warm)
			test.do(f, cl)
			if test.want == "" {
				for f.count("get pods") == 0 {
					time.Sleep(time.Millisecond)
				}
				time.Sleep(50 * time.Millisecond)
				if cause := cl.Cause(); cause != nil {
					t.Error(cause)
				}
				closed(t, c)
				return
			}
			select {
			case <-cl.Gone():
			case <-time.After(soon):
				t.Fatal("not noticed")
			}
			if cause := cl.Cause(); sandbox.KindOf(cause) != sandbox.KindLost || !strings.Contains(cause.Error(), test.want) {
				t.Errorf("cause %v, want %q", cause, test.want)
			}
			if cl.End() != test.end {
				t.Errorf("end %+v, want %+v", cl.End(), test.end)
			}
			if err := c.Release(within(t), cl); err != nil {
				t.Error(err)
			}
			closed(t, c)
		})
	}
}

func TestInspect(t *testing.T) {
	f := newFake(t)
	c := open(t, f, Options{})
	cl := acquire(t, c, warm)
	if err := cl.Inspect(within(t)); err == nil || sandbox.KindOf(err) != sandbox.KindLost {
		t.Errorf("a pod that is not there: %v", err)
	}
	select {
	case <-cl.Gone():
	default:
		t.Error("Gone is not closed")
	}
}

func TestCloseNamesWhatIsLeft(t *testing.T) {
	f := newFake(t)
	f.endless = true
	c := open(t, f, Options{})
	one, two := acquire(t, c, warm), acquire(t, c, warm)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := c.Release(ctx, one)
	if err == nil || !strings.Contains(err.Error(), one.Name) || !strings.Contains(err.Error(), "still ends") {
		t.Errorf("release: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err = c.Close(ctx)
	if err == nil || !strings.Contains(err.Error(), one.Name) || !strings.Contains(err.Error(), two.Name) {
		t.Errorf("close: %v", err)
	}
	f.drop("sandboxclaims", one.Name)
	f.drop("sandboxclaims", two.Name)
	closed(t, c)
	nothing(t, f)
}

func TestGroups(t *testing.T) {
	f := newFake(t)
	c := open(t, f, Options{Entrances: []Peer{defaultRouter}})
	r := Request{Spec: sandbox.Spec{Network: sandbox.NetworkCase, Group: "s1", Cluster: sandbox.Cluster{Image: "i"}}}
	other := r
	other.Spec.Group = "s2"
	one, alone := acquire(t, c, r), acquire(t, c, other)
	if n := f.names("networkpolicies"); len(n) != 0 {
		t.Errorf("policies %v for groups of one", n)
	}
	two := acquire(t, c, r)
	policies := f.names("networkpolicies")
	if len(policies) != 1 {
		t.Fatalf("policies %v", policies)
	}
	group := c.groupName("s1")
	if same := open(t, f, Options{Run: sandbox.Run{ID: "r2"}}).groupName("s1"); same == group {
		t.Errorf("two runs have the same group %s", group)
	}
	spec := f.get("networkpolicies", policies[0])["spec"].(object)
	if got := fmt.Sprint(spec["podSelector"]); !strings.Contains(got, group) || !strings.Contains(fmt.Sprint(spec["egress"], spec["ingress"]), group) {
		t.Errorf("policy %v", spec)
	}
	pod := f.get("sandboxclaims", two.Name)["spec"].(object)["additionalPodMetadata"].(object)
	if pod["labels"].(object)[labelGroup] != group {
		t.Errorf("pod labels %v", pod)
	}
	template := f.get("sandboxtemplates", f.names("sandboxtemplates")[0])["spec"].(object)
	if p := template["networkPolicy"].(object); p["egress"] != nil || p["ingress"] == nil {
		t.Errorf("template's policy %v", p)
	}
	for _, cl := range []*Claim{one, two, two, alone} {
		if err := c.Release(within(t), cl); err != nil {
			t.Error(err)
		}
	}
	if n := f.names("networkpolicies"); len(n) != 0 {
		t.Errorf("left: %v", n)
	}
	if len(c.groups) != 0 {
		t.Errorf("%d groups without members are kept", len(c.groups))
	}
	again, and := acquire(t, c, r), acquire(t, c, r)
	if n := f.names("networkpolicies"); len(n) != 1 {
		t.Errorf("policies %v of a group that was left, and came again", n)
	}
	for _, cl := range []*Claim{again, and} {
		if err := c.Release(within(t), cl); err != nil {
			t.Error(err)
		}
	}
	closed(t, c)
	nothing(t, f)
}

func TestManage(t *testing.T) {
	f := newFake(t)
	mine, theirs := open(t, f, Options{}), open(t, f, Options{})
	theirs.o.Run.ID = "r2"
	a, b := acquire(t, mine, warm), acquire(t, theirs, warm)
	infos, err := mine.List(within(t), "")
	if err != nil || len(infos) != 2 {
		t.Fatal(infos, err)
	}
	got, err := mine.Attach(within(t), b.Name)
	if err != nil || got.Sandbox != b.Sandbox {
		t.Fatal(got, err)
	}
	if _, err := mine.Attach(within(t), "none"); sandbox.KindOf(err) != sandbox.KindNotFound {
		t.Error(err)
	}
	if err := a.Extend(within(t), 5*time.Hour); err != nil {
		t.Error(err)
	}
	infos, err = mine.List(within(t), labelRun+"=r1")
	if err != nil || len(infos) != 1 || time.Until(infos[0].Expires) < 4*time.Hour || !infos[0].Ready || infos[0].Run != "r1" {
		t.Error(infos, err)
	}
	closed(t, mine)
	if left := f.names("sandboxclaims"); !slices.Equal(left, []string{b.Name}) {
		t.Errorf("after Close of the one there is %v", left)
	}
	names, err := theirs.DeleteAll(within(t), "")
	if err != nil || !slices.Equal(names, []string{b.Name}) {
		t.Error(names, err)
	}
	closed(t, theirs)
	nothing(t, f)
}

func TestNameTakenIsNotDeleted(t *testing.T) {
	f := newFake(t)
	f.set(func() { f.put("ADDED", "sandboxclaims", object{"metadata": object{"name": "sbx-r1-1"}}) })
	c := open(t, f, Options{})
	if _, err := c.Acquire(within(t), warm); err == nil || !strings.Contains(err.Error(), "taken") {
		t.Errorf("the name is somebody else's: %v", err)
	}
	acquire(t, c, warm)
	closed(t, c)
	if left := f.names("sandboxclaims"); !slices.Equal(left, []string{"sbx-r1-1"}) {
		t.Errorf("left %v", left)
	}
}

func TestStands(t *testing.T) {
	f := newFake(t)
	c := open(t, f, Options{})
	cl := acquire(t, c, warm)
	conditions := func(list ...string) (all []any) {
		for i := 0; i < len(list); i += 2 {
			all = append(all, object{"type": list[i], "status": list[i+1]})
		}
		return all
	}
	if cl.Stands(within(t)) {
		t.Error("a pod that is not there stands")
	}
	f.set(func() { f.put("ADDED", "pods", object{"metadata": object{"name": cl.Pod}}) })
	for name, test := range map[string]struct {
		phase      string
		conditions []any
		want       bool
	}{
		"well":                {"Running", conditions("Ready", "True", "ContainersReady", "True"), true},
		"its probe fails":     {"Running", conditions("Ready", "False", "ContainersReady", "False"), true},
		"its node is away":    {"Running", conditions("Ready", "False", "ContainersReady", "True"), false},
		"it is to be evicted": {"Running", conditions("Ready", "True", "ContainersReady", "True", "DisruptionTarget", "True"), false},
		"it failed":           {"Failed", conditions("Ready", "False", "ContainersReady", "False"), false},
	} {
		f.edit("pods", cl.Pod, func(o object) { o["status"] = object{"phase": test.phase, "conditions": test.conditions} })
		if got := cl.Stands(within(t)); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	f.edit("pods", cl.Pod, func(o object) { o["status"] = object{"phase": "Running"} })
	f.set(func() { f.forbidden["get pods"] = true })
	if cl.Stands(within(t)) {
		t.Error("of a pod that may not be read nothing is known")
	}
	f.set(func() { f.forbidden = map[string]bool{} })
	closed(t, c)
}

// Somebody who may make claims in the namespace can know the names and labels of a run's next ones.
func TestObjectsThatWaitForTheRunAreNotTaken(t *testing.T) {
	trap := object{labelRun: "r1", labelManaged: managed}
	image := Request{Spec: sandbox.Spec{Cluster: sandbox.Cluster{Image: "i"}}}
	key, err := poolKey(image.Spec)
	if err != nil {
		t.Fatal(err)
	}
	for resource, name := range map[string]string{
		"sandboxclaims": "sbx-r1-1", "sandboxtemplates": "sbx-r1-p" + key, "sandboxwarmpools": "sbx-r1-p" + key, "leases": "sbx-r1",
	} {
		f := newFake(t)
		f.set(func() {
			f.put("ADDED", resource, object{"metadata": object{"name": name, "labels": trap, "annotations": object{annotationNonce: "guess"}}})
		})
		c := open(t, f, Options{})
		if _, err := c.Acquire(within(t), image); err == nil {
			t.Errorf("%s/%s of somebody else was taken for the run's own", resource, name)
		}
		closed(t, c)
	}
}

func TestATemplateOfTheRunIsFoundAgain(t *testing.T) {
	f := newFake(t)
	c := open(t, f, Options{})
	image := Request{Spec: sandbox.Spec{Cluster: sandbox.Cluster{Image: "i"}}}
	f.set(func() { f.forbidden["create sandboxwarmpools"] = true })
	if _, err := c.Acquire(within(t), image); err == nil {
		t.Error("without a pool")
	}
	f.set(func() { f.forbidden = map[string]bool{} })
	acquire(t, c, image)
	closed(t, c)
	nothing(t, f)
}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}
