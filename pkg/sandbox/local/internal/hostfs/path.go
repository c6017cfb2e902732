package hostfs

import (
	"path"
	"slices"
	"strings"
)

// searchPath goes through the host's PATH, shows the toolchains in it, and makes the sandbox's PATH.
func (b *builder) searchPath() {
	for _, entry := range b.entries() {
		dirs, shims := b.versions(entry)
		for _, dir := range dirs {
			b.addDir(dir, true)
		}
		if !shims {
			b.addDir(entry, false)
		}
	}
}

// entries are the folders of the host's PATH that are there, each once.
func (b *builder) entries() []string {
	p := b.env.Path
	if p == "" {
		p = DefaultPath
	}
	var dirs []string
	for entry := range strings.SplitSeq(p, ":") {
		if !path.IsAbs(entry) {
			continue // "." and "" mean the working directory, which is another one in the sandbox
		}
		if entry = path.Clean(entry); b.host.isDir(entry) && !slices.Contains(dirs, entry) {
			dirs = append(dirs, entry)
		}
	}
	return dirs
}

// addDir brings a folder of programs into the sandbox's PATH if it can be shown. vouched says that a version manager
// told that it belongs to a toolchain.
func (b *builder) addDir(dir string, vouched bool) {
	real, met, _, err := b.host.resolve(dir)
	if err != nil || hidden(real) {
		return
	}
	prefix := path.Dir(real)
	switch {
	case b.covered(real):
	case b.isToolchain(prefix), vouched && b.mayBePrefix(prefix):
		b.showPrefix(prefix)
		b.follow(real)
	case b.holdsTools(real):
		b.bind(real)
	case b.follow(real) > 0:
		b.note("PATH: of %s only the links to toolchains are in the sandbox", dir)
	default:
		if len(b.host.list(real)) > 0 {
			b.note("PATH: %s is not in the sandbox (local.mounts can add it)", dir)
		}
		return
	}
	if !b.covered(real) && !b.linked(real) {
		return
	}
	shown := dir
	for _, l := range met {
		if hidden(l.Name) {
			shown = real // a folder such as /run/user/1000/fnm/bin
		}
	}
	if shown == dir {
		b.link(met)
	}
	if !slices.Contains(b.path, shown) {
		b.path = append(b.path, shown)
	}
}

// linked says whether links in dir are kept.
func (b *builder) linked(dir string) bool {
	for name := range b.links {
		if path.Dir(name) == dir {
			return true
		}
	}
	return false
}

// tools are the folders that package managers install single programs to, in bin.
var tools = []struct{ variable, dir string }{
	{"CARGO_HOME", ".cargo"}, {"GOPATH", "go"}, {"DENO_INSTALL", ".deno"}, {"BUN_INSTALL", ".bun"},
}

// holdsTools says whether a folder is one that only a package manager installs programs to: its content is shown, though
// it lies in a home and has no toolchain around it.
func (b *builder) holdsTools(real string) bool {
	home, _, _, err := b.host.resolve(b.env.Home)
	if err != nil {
		home = b.env.Home
	}
	for _, t := range tools {
		root := b.getenv(t.variable)
		if root == "" {
			root = path.Join(home, t.dir)
		}
		if real == path.Join(root, "bin") {
			return true
		}
	}
	return false
}
