package claim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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
