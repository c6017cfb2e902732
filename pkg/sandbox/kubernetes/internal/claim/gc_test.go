package claim

import (
	"slices"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// age makes a run's Lease look as if it had been renewed that long ago.
func age(f *fake, run string, d time.Duration) {
	f.edit("leases", prefix+run, func(o object) {
		o["spec"].(object)["renewTime"] = time.Now().Add(-d).UTC().Format("2006-01-02T15:04:05.000000Z")
	})
}

func TestGCTakesOnlyTheDead(t *testing.T) {
	f := newFake(t)
	live, dead := open(t, f, Options{}), open(t, f, Options{Run: sandbox.Run{ID: "r2"}})
	image := Request{Spec: sandbox.Spec{Network: sandbox.NetworkCase, Cluster: sandbox.Cluster{Image: "i"}}}
	a := acquire(t, live, image)
	b, _ := acquire(t, dead, image), acquire(t, dead, image)
	f.set(func() {
		f.put("ADDED", "leases", object{"metadata": object{"name": "kube-scheduler"}, "spec": object{"renewTime": "2020-01-01T00:00:00.000000Z"}})
		f.put("ADDED", "sandboxclaims", object{"metadata": object{"name": "somebody"}})
		f.put("ADDED", "sandboxclaims", object{"metadata": object{"name": "somebody-with-labels", "labels": object{labelRun: "r2", labelManaged: managed}}})
	})
	removed, err := GC(within(t), f.cluster())
	if err != nil || len(removed) != 0 {
		t.Fatalf("of runs that live: %v, %v", removed, err)
	}
	age(f, "r2", leaseDuration+leaseMargin+time.Minute)
	removed, err = GC(within(t), f.cluster())
	if err != nil {
		t.Fatal(err)
	}
	// two claims, pool, template, policy, lease
	if len(removed) != 6 || !slices.Contains(removed, "sandboxclaim/"+b.Name) || !slices.Contains(removed, "lease/sbx-r2") {
		t.Errorf("removed %v", removed)
	}
	if left := f.names("sandboxclaims"); !slices.Equal(left, []string{a.Name, "somebody", "somebody-with-labels"}) {
		t.Errorf("left %v", left)
	}
	if left := f.names("leases"); !slices.Equal(left, []string{"kube-scheduler", "sbx-r1"}) {
		t.Errorf("left %v", left)
	}
	select {
	case <-b.Gone():
	case <-time.After(soon):
		t.Error("the run that was taken for dead did not notice")
	}
	if err := dead.lease.renew(within(t)); sandbox.KindOf(err) != sandbox.KindUnavailable {
		t.Errorf("its next renewal: %v", err)
	}
}

func TestGCLeavesARunThatRenewsMeanwhile(t *testing.T) {
	f := newFake(t)
	c := open(t, f, Options{})
	cl := acquire(t, c, warm)
	age(f, "r1", time.Hour)
	cluster := f.cluster()
	leases, err := cluster.Leases("ns")
	if err != nil {
		t.Fatal(err)
	}
	stale := *c.lease.object
	age(f, "r1", 0) // the renewal
	removed, err := collect(within(t), cluster, c.api, leases, &stale)
	if err != nil || len(removed) != 0 || cl.Cause() != nil {
		t.Errorf("%v, %v, %v", removed, err, cl.Cause())
	}
}

func TestLeaseIsRenewed(t *testing.T) {
	f := newFake(t)
	c := open(t, f, Options{})
	acquire(t, c, warm)
	age(f, "r1", time.Hour) // another version than the run knows: an answer that was lost
	for range 2 {           // the first finds out, the second renews
		if err := c.lease.renew(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	if _, lapses := term(c.lease.object); time.Now().After(lapses) {
		t.Error("not renewed")
	}
	f.drop("leases", "sbx-r1")
	if err := c.lease.renew(within(t)); sandbox.KindOf(err) != sandbox.KindUnavailable {
		t.Errorf("a Lease that is gone: %v", err)
	}
}

func TestRuns(t *testing.T) {
	f := newFake(t)
	c := open(t, f, Options{})
	acquire(t, c, warm)
	f.set(func() { f.put("ADDED", "leases", object{"metadata": object{"name": "kube-scheduler"}}) })
	runs, err := Runs(within(t), f.cluster())
	if err != nil || len(runs) != 1 || runs[0].ID != "r1" || runs[0].Lapses.Sub(runs[0].Renewed) != leaseDuration+leaseMargin || runs[0].Holder == "" {
		t.Errorf("%+v, %v", runs, err)
	}
}

// A Lease that carries the label of a run that lives, and has lapsed, is somebody else's.
func TestGCIsNotMisledByLabels(t *testing.T) {
	f := newFake(t)
	c := open(t, f, Options{})
	image := Request{Spec: sandbox.Spec{Network: sandbox.NetworkCase, Cluster: sandbox.Cluster{Image: "i"}}}
	acquire(t, c, image)
	acquire(t, c, image)
	f.set(func() {
		f.put("ADDED", "leases", object{
			"metadata": object{"name": "trap", "uid": "trap", "labels": object{labelRun: "r1", labelManaged: managed}},
			"spec":     object{"renewTime": "2020-01-01T00:00:00.000000Z"},
		})
	})
	removed, err := GC(within(t), f.cluster())
	if err != nil || !slices.Equal(removed, []string{"lease/trap"}) {
		t.Errorf("removed %v, %v", removed, err)
	}
	for resource, n := range map[string]int{"sandboxclaims": 2, "sandboxwarmpools": 1, "sandboxtemplates": 1, "networkpolicies": 1, "leases": 1} {
		if left := f.names(resource); len(left) != n {
			t.Errorf("%s of the run that lives: %v", resource, left)
		}
	}
	closed(t, c)
	nothing(t, f)
}
