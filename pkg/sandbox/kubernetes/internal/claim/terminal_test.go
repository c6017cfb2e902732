package claim

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

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
