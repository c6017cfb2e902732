package claim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

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
