package cgroup

import (
	"maps"
	"testing"
)

func TestParseHierarchies(t *testing.T) {
	const v1 = `31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
`
	for _, c := range []struct {
		name, mounts, groups string
		v2                   string
		v1                   map[string]string
	}{
		{"v2 in a session", "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
			"0::/user.slice/user-1000.slice/session-3.scope\n", "/sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope", nil},
		{"container with a cgroup namespace", "30 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "0::/\n", "/sys/fs/cgroup", nil},
		{"container without one", "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "0::/docker/abc\n", "/sys/fs/cgroup", nil},
		{"below a container without one", "30 23 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "0::/docker/abc/self\n", "/sys/fs/cgroup/self", nil},
		{"outside of the namespace", "30 23 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "0::/../../other\n", "/sys/fs/cgroup", nil},
		{"hybrid", v1, "3:cpu,cpuacct:/a\n2:memory:/job/1\n1:pids:/\n0::/x\n", "/sys/fs/cgroup/unified/x",
			map[string]string{"cpu": "/sys/fs/cgroup/cpu,cpuacct/a", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/a", "memory": "/sys/fs/cgroup/memory/job/1", "pids": "/sys/fs/cgroup/pids"}},
		{"a space in the mount point", `30 23 0:26 / /sys/my\040groups rw - cgroup2 cgroup2 rw` + "\n", "0::/\n", "/sys/my groups", nil},
		{"nothing mounted", "22 27 0:21 / /proc rw - proc proc rw\n", "0::/\n", "", nil},
		{"nonsense", "x\n - \n1 2 3 - cgroup2\n", "x\n\n::\n", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			v2, v1 := parseHierarchies(c.mounts, c.groups)
			own := ""
			if v2 != nil {
				own = v2.own
			}
			got := map[string]string{}
			for k, h := range v1 {
				got[k] = h.own
			}
			if own != c.v2 || !maps.Equal(got, c.v1) {
				t.Errorf("v2 %q, v1 %v", own, got)
			}
		})
	}
}

func FuzzParseHierarchies(f *testing.F) {
	f.Add("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/a\n")
	f.Add("32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", "1:cpu:/../x\n")
	f.Fuzz(func(t *testing.T, mounts, groups string) {
		v2, v1 := parseHierarchies(mounts, groups)
		check := func(h hierarchy) {
			if !within(h.own, h.mount) {
				t.Errorf("%q is not within %q", h.own, h.mount)
			}
		}
		if v2 != nil {
			check(*v2)
		}
		for _, h := range v1 {
			check(h)
		}
	})
}
