package hostfs

import (
	"os"
	"path"
	"strings"
)

// Change is a program that is another one, or missing, in the sandbox.
type Change struct {
	Name    string
	Host    string // the file that the host's PATH finds, free of links
	Sandbox string // the one that the sandbox's finds, empty if none
}

// Changed says which of the named programs the sandbox finds elsewhere than the host does. A version manager's shim
// stands for the program that it would run.
func (t Tree) Changed(env Env, names ...string) []Change {
	b := &builder{env: env, host: newHost(env.Root), binds: map[string]Bind{}, links: map[string]string{}}
	var dirs []string
	for _, entry := range b.entries() {
		behind, shims := b.versions(entry)
		dirs = append(dirs, behind...)
		if !shims {
			dirs = append(dirs, entry)
		}
	}
	var changes []Change
	for _, name := range names {
		if name == "" || strings.Contains(name, "/") {
			continue
		}
		for _, dir := range dirs {
			p := path.Join(dir, name)
			if !b.host.program(p) {
				continue
			}
			real, _, _, _ := b.host.resolve(p)
			if found := t.Find(env, name); found != real {
				changes = append(changes, Change{name, real, found})
			}
			break
		}
	}
	return changes
}

// Find returns the real path of the program that a name finds in the sandbox, empty if it finds none.
func (t Tree) Find(env Env, name string) string {
	v := newView(t, newHost(env.Root))
	for dir := range strings.SplitSeq(t.Path, ":") {
		if real, ok := v.program(path.Join(dir, name)); ok {
			return real
		}
	}
	return ""
}

// view follows paths as they will be in the sandbox.
type view struct {
	host  host
	links map[string]string
	binds map[string]bool
	dirs  map[string]bool
}

func newView(t Tree, h host) view {
	v := view{h, map[string]string{}, map[string]bool{}, map[string]bool{}}
	for _, l := range t.Links {
		v.links[l.Name] = l.Target
	}
	for _, b := range t.Binds {
		v.binds[b.Target] = true
	}
	for _, d := range t.Dirs {
		v.dirs[d.Path] = true
	}
	return v
}

func (v view) program(p string) (string, bool) {
	todo, real, bound := split(p), "/", false
	for hops := 0; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		if name == ".." {
			real = path.Dir(real)
			bound = v.bound(real)
			continue
		}
		next := path.Join(real, name)
		target, link := v.links[next]
		if bound || v.binds[next] {
			info, err := v.host.lstat(next)
			if err != nil {
				return "", false
			}
			if link = info.Mode()&os.ModeSymlink != 0; link {
				target, _ = os.Readlink(v.host.root + next)
			}
		} else if !link && !v.dirs[next] {
			return "", false
		}
		if !link {
			real, bound = next, bound || v.binds[next]
			continue
		}
		if hops++; hops > 40 {
			return "", false
		}
		if path.IsAbs(target) {
			real, bound = "/", false
		}
		todo = append(split(target), todo...)
	}
	return real, bound && v.host.program(real)
}

func (v view) bound(p string) bool {
	for ; p != "/"; p = path.Dir(p) {
		if v.binds[p] {
			return true
		}
	}
	return false
}
