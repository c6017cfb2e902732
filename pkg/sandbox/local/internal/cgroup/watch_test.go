package cgroup

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The less is left the sooner the next look; what dies slowly is killed once, but not for ever.
func TestMemoryWatch(t *testing.T) {
	const mib, ms = int64(1 << 20), time.Millisecond
	w := MemoryWatch{Limit: 1 << 30, Least: WatchLeast}
	now := time.Now()
	for i, look := range []struct {
		used int64
		over bool
		wait time.Duration // about
	}{
		{0, false, 50 * ms},
		{900 * mib, false, 30 * ms},
		{1020 * mib, false, 10 * ms},
		{1024 * mib, false, 10 * ms},
		{1025 * mib, true, 10 * ms},
		{2048 * mib, false, 10 * ms},
		{960 * mib, false, 15 * ms},
		{1025 * mib, true, 10 * ms},
		{1025 * mib, false, 10 * ms},
	} {
		over := w.Saw(now, look.used)
		if wait := w.Due.Sub(now); over != look.over || wait < look.wait || wait > look.wait+ms {
			t.Errorf("look %d, at %d MiB: over %v, the next after %v", i, look.used/mib, over, wait)
		}
		now = w.Due
	}
	if !w.Saw(now.Add(patience), 1025*mib) {
		t.Error("what does not die is let be")
	}
}

// What counts, in the words of both versions of control groups.
func TestTaken(t *testing.T) {
	const v1 = "cache 9\nrss 9\nshmem 9\ntotal_cache 70000\ntotal_rss 500\ntotal_rss_huge 0\ntotal_shmem 300\n"
	const v2 = "anon 500\nfile 70000\nkernel 10000\nshmem 300\nfile_mapped 9\n"
	for name, c := range map[string]struct{ enough, disk, want int64 }{
		"enough":                  {80000, 300, 80000},
		"enough but for files":    {79700, 300, 79700},
		"files":                   {400, 300, 500},
		"shared memory":           {400, 0, 800},
		"both":                    {400, 100, 700},
		"files that others wrote": {400, 400, 500},
		"files of another group":  {400, 90000, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for _, g := range []*Group{{memory: t.TempDir()}, {memory: t.TempDir(), v2: true}} {
				files := map[string]string{"memory.usage_in_bytes": "80000\n", "memory.stat": v1}
				if g.v2 {
					files = map[string]string{"memory.current": "80000\n", "memory.stat": v2}
				}
				for file, text := range files {
					if err := os.WriteFile(filepath.Join(g.memory, file), []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if got, err := g.Taken(c.enough, func() int64 { return c.disk }); err != nil || got != c.want {
					t.Errorf("v2 %v: %d, %v, want %d", g.v2, got, err, c.want)
				}
				g.close()
			}
		})
	}
}
