package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

func TestLimitsAreWritten(t *testing.T) {
	m := detect(t)
	g := create(t, m, "limits", Limits{CPU: 1500, Memory: 1 << 30, PIDs: 77})
	type row struct{ dir, file, want string }
	rows := []row{
		{g.memory, "memory.limit_in_bytes", "1073741824"},
		{g.memory, "memory.kmem.tcp.limit_in_bytes", "268435456"},
		{g.pids, "pids.max", "77"},
		{g.cpu, "cpu.cfs_quota_us", "150000"},
		{g.cpu, "cpu.cfs_period_us", "100000"},
	}
	if m.Mode == ModeV2 {
		rows = []row{{g.memory, "memory.max", "1073741824"}, {g.pids, "pids.max", "77"}, {g.cpu, "cpu.max", "150000 100000"}}
	}
	for _, r := range rows {
		if r.dir == "" {
			continue
		}
		got, err := os.ReadFile(r.dir + "/" + r.file)
		if errors.Is(err, fs.ErrNotExist) && strings.Contains(r.file, "kmem") {
			continue // not in every kernel
		}
		if err != nil || strings.TrimSpace(string(got)) != r.want {
			t.Errorf("%s: %q, %v", r.file, got, err)
		}
	}
	if m.Mode != ModeV1 || g.memory == "" {
		return
	}
	for _, f := range []string{"memory.memsw.limit_in_bytes", "memory.swappiness"} {
		if got, err := os.ReadFile(g.memory + "/" + f); err == nil {
			if s := strings.TrimSpace(string(got)); s == "0" || s == "1073741824" {
				return
			}
		}
	}
	t.Error("swap is neither counted nor off")
}

// Where every sandbox has a share of its own, none takes the time of the others by having more processes or sessions.
func TestShareWithoutLimit(t *testing.T) {
	m := detect(t)
	if m.CPU == "" {
		cannot(t, m)
	}
	g := create(t, m, "share", Limits{PIDs: 4})
	if g.cpu == "" || g.cpu == m.CPU {
		t.Errorf("its time is counted in %q", g.cpu)
	}
}

// A limit below what the kernel takes is raised to it, and one that the kernel refuses leaves nothing behind.
func TestOddLimits(t *testing.T) {
	m := detect(t)
	create(t, m, "tiny-cpu", Limits{CPU: 1})
	if g, err := m.Create("refused", Limits{PIDs: 1 << 62}); err == nil {
		remove(t, g)
		t.Error("no error")
	}
	groups := &Group{}
	for _, d := range []string{m.Memory, m.PIDs, m.CPU} {
		if _, err := os.Stat(d + "/" + prefix + m.Run + ".refused"); err == nil {
			t.Errorf("left in %s", d)
			groups.dirs = append(groups.dirs, d+"/"+prefix+m.Run+".refused")
		}
	}
	remove(t, groups)
}
