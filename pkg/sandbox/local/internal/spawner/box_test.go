package spawner

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/cgroup"
)

// What could not be taken down stays known, and is taken down when it is tried again.
func TestRemoveAgain(t *testing.T) {
	parent := t.TempDir() // as good as a control group that cannot be removed
	s := &server{boxes: map[string]*box{}}
	s.groups.Manager = &cgroup.Manager{Mode: cgroup.ModeV1, Run: "run", Memory: parent}
	group, err := s.groups.Get("x", cgroup.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	b := &box{id: "x", server: s, group: group, slot: &slot{}, disk: -1, root: -1, scripts: -1, pidfd: -1, gone: make(chan struct{})}
	s.boxes["x"] = b
	made, err := filepath.Glob(parent + "/*")
	if err != nil || len(made) != 1 {
		t.Fatal(made, err)
	}
	inTheWay := made[0] + "/file"
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.release("x"); err == nil || s.boxes["x"] == nil || len(s.slots.free) > 0 {
			t.Errorf("%v; what is known: %v, free: %v", err, s.boxes, s.slots.free)
		}
	}
	if _, err := s.find("x"); err == nil {
		t.Error("it can be used in between")
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.release("x"); err != nil || len(s.boxes) > 0 || len(s.slots.free) != 1 {
			t.Errorf("%v; what is known: %v, free: %v", err, s.boxes, s.slots.free)
		}
	}
	if _, err := os.Stat(made[0]); err == nil {
		t.Error("the group is there")
	}
}
