package cgroup

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Pages that processes share must not be counted as often as they are shared.
func TestMemoryOfSharesOnce(t *testing.T) {
	self := os.Getpid()
	one := MemoryOf([]int{self}, 1<<62)
	if one < 1<<20 {
		t.Fatalf("this process uses %d bytes", one)
	}
	if got := MemoryOf([]int{self, self, self}, 1<<62); got < 2*one {
		t.Errorf("the cheap sum is %d of %d", got, one)
	}
	if p := proportional(self); p <= 0 || p > 2*one {
		t.Errorf("proportional %d, resident %d", p, one)
	}
	if got := MemoryOf(nil, 0); got != 0 {
		t.Errorf("nobody uses %d", got)
	}
}

func TestAffinity(t *testing.T) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	n := all.Count()
	for _, c := range []struct {
		milli int64
		want  int // cores; 0: none
	}{{0, 0}, {-1, 0}, {1, 1}, {1000, 1}, {1001, 2}, {int64(n) * 1000, 0}, {1 << 60, 0}} {
		want := c.want
		if want >= n {
			want = 0
		}
		for _, spread := range []int{0, 1, 7, -1, -1 << 63} {
			set, ok := Affinity(c.milli, spread)
			if ok != (want > 0) || ok && set.Count() != want {
				t.Errorf("%d, %d: %d cores, %t", c.milli, spread, set.Count(), ok)
			}
		}
	}
	if n > 1 {
		a, _ := Affinity(1000, 0)
		b, _ := Affinity(1000, 1)
		if a == b {
			t.Error("two sandboxes share a core")
		}
	}
}

func TestDataLimit(t *testing.T) {
	for _, m := range []int64{1 << 20, 512 << 20, 8 << 30} {
		if got := DataLimit(m); got < uint64(m)+1<<30-1 {
			t.Errorf("%d: %d leaves no room for what runtimes set aside", m, got)
		}
	}
}
