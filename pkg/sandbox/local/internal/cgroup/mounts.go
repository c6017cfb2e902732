package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// hierarchy is one mounted hierarchy and where in it a process is.
type hierarchy struct {
	mount string // where the top that this mount namespace sees is
	own   string // the folder of the process, equal to mount or below it
}

// hierarchies finds the v2 hierarchy, nil if it is not mounted, and the v1 hierarchy of each controller, for the
// process pid (0: this one).
func hierarchies(pid int) (v2 *hierarchy, v1 map[string]hierarchy, err error) {
	self := "self"
	if pid > 0 {
		self = strconv.Itoa(pid)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, nil, fmt.Errorf("cgroup: %w", err)
	}
	groups, err := os.ReadFile("/proc/" + self + "/cgroup")
	if err != nil {
		return nil, nil, fmt.Errorf("cgroup: %w", err)
	}
	v2, v1 = parseHierarchies(string(mounts), string(groups))
	return v2, v1, nil
}

// parseHierarchies reads mountinfo (proc(5)) and /proc/PID/cgroup (cgroups(7)).
func parseHierarchies(mounts, groups string) (*hierarchy, map[string]hierarchy) {
	paths := map[string]string{} // controller, or "" for v2, to the path below the cgroup namespace's root
	for line := range strings.Lines(groups) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) < 3 {
			continue
		}
		for c := range strings.SplitSeq(f[1], ",") {
			paths[c] = f[2]
		}
	}
	var v2 *hierarchy
	v1 := map[string]hierarchy{}
	for line := range strings.Lines(mounts) {
		before, after, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 5 || len(g) < 3 {
			continue
		}
		root, mount := unescape(f[3]), unescape(f[4])
		switch g[0] {
		case "cgroup2":
			if p, ok := paths[""]; ok && v2 == nil {
				v2 = &hierarchy{mount, place(mount, root, p)}
			}
		case "cgroup":
			for c := range strings.SplitSeq(g[2], ",") {
				if p, ok := paths[c]; ok && v1[c].mount == "" {
					v1[c] = hierarchy{mount, place(mount, root, p)}
				}
			}
		}
	}
	return v2, v1
}

// place returns the folder of a group's path in a mount that shows the hierarchy from root on. A path that the mount
// does not show, which a container without a cgroup namespace may have, stands for the mount itself: in such a
// container root is the container's own group.
func place(mount, root, p string) string {
	if rel, err := filepath.Rel(root, p); err == nil && within(p, root) && !strings.HasPrefix(p, "/..") {
		return filepath.Join(mount, rel)
	}
	return mount
}

// unescape undoes mountinfo's octal escapes of space, tab, newline and backslash.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// within says whether p is dir or below it.
func within(p, dir string) bool {
	rel, err := filepath.Rel(dir, p)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}
