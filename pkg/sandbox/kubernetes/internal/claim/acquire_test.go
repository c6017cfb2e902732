package claim

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

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
