// Package hostfs decides what an untrusted sandbox sees of the host's file system when its root is `host`: a read-only
// allowlist of programs, libraries and the toolchains that PATH shows, with a made-up /etc. It only reads and decides;
// whoever makes the sandbox mounts what the Tree says. What is writable in a sandbox (workspace, /tmp, /dev, /proc) and
// the mounts that a recipe adds do not belong here.
package hostfs

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
)

// Env is what Discover looks at. The zero value of each field is usable.
type Env struct {
	// Root is put before every path of the host; tests give a made-up tree. Empty: the host itself.
	Root string
	// Path is the host's PATH; empty: the folders of the system's programs.
	Path string
	// Home is the home folder of the user who runs sbxrun.
	Home string
	// Dir is the folder sbxrun was started in; version managers look for their version files from there upwards.
	Dir string
	// Getenv looks up other variables of the host that say where toolchains are (PYENV_ROOT, CARGO_HOME, ...). nil: none.
	Getenv func(string) string
	// UID is the user id that sbxrun runs as.
	UID int
	// HostNetwork adds the host's resolv.conf and hosts, for sandboxes on the host's network.
	HostNetwork bool
}

// HostEnv is the Env of this process.
func HostEnv() Env {
	dir, _ := os.Getwd()
	home, _ := os.UserHomeDir()
	return Env{Path: os.Getenv("PATH"), Home: home, Dir: dir, Getenv: os.Getenv, UID: os.Geteuid()}
}

// Tree is the root file system of a sandbox apart from what is writable. Paths are absolute and clean. To build it on
// an empty tmpfs: make Dirs, then Links, then Files, then Binds, each in its order; nothing lies within a Bind.
type Tree struct {
	Dirs  []Dir  // every parent folder that something else needs, parents first
	Links []Link // symbolic links
	Files []File // small files with their content
	Binds []Bind // read-only bind mounts; sources are free of symbolic links
	// Path is the sandbox's PATH: the host's, cut to what is in the tree, with the folders of version managers' shims
	// replaced by the folders of the versions that they choose.
	Path string
	// Notes say, one line each, what of the host's PATH is not there or is found elsewhere.
	Notes []string
}

// Dir is a folder that belongs to root and that all may read.
type Dir struct {
	Path string
	Mode uint32
}

// Link is a symbolic link at Name that says Target.
type Link struct{ Name, Target string }

// File is a regular file.
type File struct {
	Path string
	Mode uint32
	Data []byte
}

// Bind is a recursive bind mount, read-only, nosuid and nodev with all below it. Target is Source: programs find their
// libraries and scripts their interpreters by absolute paths.
type Bind struct {
	Source, Target string
	// IDMap is true where others than the owner may not read the source: for a sandbox with a user id of its own it has
	// to be mounted id-mapped (the source's owner to the sandbox's id), or the toolchain is there but of no use. It is
	// never set for an ordinary user, whose sandboxes have the user's id.
	IDMap bool
	// File is true where Source is not a folder; the mount point has to be a file then.
	File bool
}

// The user that commands run as where the root file system is the host's; the made-up passwd and group name it.
const (
	UID      = 1000
	GID      = 1000
	UserName = "sandbox"
	HostName = "sandbox"
)

// DefaultPath is the PATH of a host that has none.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Discover decides on the tree. It costs some hundred system calls; the result holds for a run. The error says that the
// host has no system folders that could be shown.
func Discover(env Env) (Tree, error) {
	b := &builder{env: env, host: newHost(env.Root), binds: map[string]Bind{}, links: map[string]string{}, files: map[string]File{}}
	b.system()
	if !b.host.exists("/usr/bin") && !b.host.exists("/bin") && !b.host.exists("/nix/store") {
		return Tree{}, fmt.Errorf("host root file system: neither /usr/bin nor /bin nor /nix/store is there")
	}
	b.etc()
	b.searchPath()
	return b.tree(), nil
}

// builder collects what the tree holds. Keys are real paths: free of symbolic links but for the last component of links.
type builder struct {
	env   Env
	host  host
	binds map[string]Bind
	links map[string]string
	files map[string]File
	path  []string
	notes []string
}

func (b *builder) note(format string, a ...any) {
	if s := fmt.Sprintf(format, a...); !slices.Contains(b.notes, s) {
		b.notes = append(b.notes, s)
	}
}

func (b *builder) getenv(name string) string {
	if b.env.Getenv == nil {
		return ""
	}
	return b.env.Getenv(name)
}

// covered says whether a real path is within a bind.
func (b *builder) covered(real string) bool {
	for p := real; ; p = path.Dir(p) {
		if _, ok := b.binds[p]; ok {
			return true
		}
		if p == "/" {
			return false
		}
	}
}

// bind shows a path of the host at its own place, together with the symbolic links on the way to it. It does
// nothing where there is nothing to show, or it may not be shown.
func (b *builder) bind(p string) {
	real, links, info, err := b.host.resolve(p)
	if err != nil || hidden(real) {
		return
	}
	b.link(links)
	if b.covered(real) {
		return
	}
	b.binds[real] = Bind{Source: real, Target: real, File: !info.IsDir(), IDMap: b.env.UID == 0 && b.private(real)}
}

// private says whether users other than the owner are kept out of a folder, its programs or its libraries.
func (b *builder) private(real string) bool {
	for _, p := range []string{real, real + "/bin", real + "/lib"} {
		info, err := b.host.stat(p)
		if err != nil {
			continue
		}
		want := os.FileMode(0o005)
		if !info.IsDir() {
			want = 0o004
		}
		if info.Mode().Perm()&want != want {
			return true
		}
	}
	return false
}

// link keeps links that were met on the way to something shown.
func (b *builder) link(links []Link) {
	for _, l := range links {
		if !hidden(l.Name) {
			b.links[l.Name] = l.Target
		}
	}
}

// hidden says whether a path is one that the sandbox makes itself or that must never be shown as it is.
func hidden(p string) bool {
	top, _, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/")
	switch top {
	case "", "proc", "sys", "dev", "run", "tmp", "boot", "workspace":
		return true
	}
	return p == "/home" || p == "/root" || p == "/var" || p == "/var/run" || strings.HasPrefix(p, "/var/run/")
}

// tree returns what was collected, in order, without what lies within binds, and with the parents it all needs.
func (b *builder) tree() Tree {
	t := Tree{Path: strings.Join(b.path, ":"), Notes: b.notes}
	parents := map[string]bool{}
	need := func(p string) {
		for p = path.Dir(p); p != "/"; p = path.Dir(p) {
			parents[p] = true
		}
	}
	for p, bind := range b.binds {
		if !b.covered(path.Dir(p)) {
			t.Binds = append(t.Binds, bind)
			need(p)
		}
	}
	for name, target := range b.links {
		if !b.covered(name) {
			t.Links = append(t.Links, Link{name, target})
			need(name)
		}
	}
	for p, f := range b.files {
		if !b.covered(p) && b.links[p] == "" {
			t.Files = append(t.Files, f)
			need(p)
		}
	}
	for p := range parents {
		t.Dirs = append(t.Dirs, Dir{p, 0o755})
	}
	slices.SortFunc(t.Dirs, func(x, y Dir) int { return strings.Compare(x.Path, y.Path) })
	slices.SortFunc(t.Binds, func(x, y Bind) int { return strings.Compare(x.Target, y.Target) })
	slices.SortFunc(t.Links, func(x, y Link) int { return strings.Compare(x.Name, y.Name) })
	slices.SortFunc(t.Files, func(x, y File) int { return strings.Compare(x.Path, y.Path) })
	return t
}
