package hostfs

import (
	"os"
	"path"
	"strings"
)

// programs are what makes a folder's parent a toolchain: a prefix that a language or a package manager was installed to.
var programs = strings.Fields(`python3 python node java ruby go rustc perl julia php R Rscript ghc erl elixir swift dart clang gcc
	dotnet mono lua luajit racket sbcl guile scala kotlin zig nim crystal ocaml octave conda micromamba brew cmake`)

// parts are the entries of a prefix that belong to the toolchain. What else is in one (etc/npmrc, pip.conf, .condarc, the
// checkout around a virtual environment) may hold credentials and is not shown.
var parts = set(`bin sbin lib lib32 lib64 libexec include share man doc docs ssl openssl jre jmods conf legal demo sample
	src pkg api misc test envs Cellar opt Frameworks compiler_compat x86_64-conda-linux-gnu aarch64-conda-linux-gnu
	x86_64-conda_cos6-linux-gnu pyvenv.cfg VERSION go.env release LICENSE LICENSE.txt LICENSE.md COPYING COPYRIGHT
	README README.md NOTICE CHANGELOG.md PATENTS SECURITY.md CONTRIBUTING.md codereview.cfg ASSEMBLY_EXCEPTION
	THIRD_PARTY_README`)

// venvParts are the parts of a Python virtual environment, whose folder may well be a checkout.
var venvParts = set(`bin lib lib64 include share pyvenv.cfg`)

func set(words string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}

// isToolchain says whether a real path is the prefix of a toolchain, by what is in it.
func (b *builder) isToolchain(prefix string) bool {
	if !b.mayBePrefix(prefix) {
		return false
	}
	if b.isVenv(prefix) || b.host.isDir(prefix+"/conda-meta") {
		return true
	}
	if !b.host.isDir(prefix+"/lib") && !b.host.isDir(prefix+"/lib64") {
		return false
	}
	for _, p := range programs {
		if b.host.program(prefix + "/bin/" + p) {
			return true
		}
	}
	return false
}

func (b *builder) isVenv(prefix string) bool { return b.host.exists(prefix + "/pyvenv.cfg") }

// mayBePrefix keeps homes, what is above them, the checkout, and the folder where desktop programs keep people's data
// from being taken for a prefix, whatever is in them.
func (b *builder) mayBePrefix(prefix string) bool {
	if hidden(prefix) || path.Base(prefix) == ".local" || path.Dir(prefix) == "/home" {
		return false
	}
	if within(b.env.Dir, prefix) && !b.isVenv(prefix) {
		return false
	}
	home, _, _, err := b.host.resolve(b.env.Home)
	return b.env.Home == "" || err != nil || !within(home, prefix)
}

// within says whether p is dir or below it.
func within(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}

// showPrefix shows a toolchain: as a whole where nothing else is in its folder, its parts otherwise.
func (b *builder) showPrefix(prefix string) {
	if b.covered(prefix) {
		return
	}
	found, pure := b.partsOf(prefix)
	if pure {
		b.bind(prefix)
		return
	}
	for _, name := range found {
		b.bind(path.Join(prefix, name))
	}
	if b.host.isDir(prefix + "/etc/fonts") {
		b.bind(prefix + "/etc/fonts")
	}
}

// partsOf returns those entries of a prefix that belong to the toolchain, and whether it holds nothing else.
func (b *builder) partsOf(prefix string) (found []string, pure bool) {
	known := parts
	if b.isVenv(prefix) {
		known = venvParts
	}
	entries := b.host.list(prefix)
	for _, e := range entries {
		if known[e.Name()] {
			found = append(found, e.Name())
		}
	}
	return found, len(found) > 0 && len(found) == len(entries)
}

// follow shows the toolchains that links in a folder of programs lead to (the base of a virtual environment), and
// returns those links whose programs are shown, perhaps from now on.
func (b *builder) follow(dir string) (found int) {
	for _, e := range b.host.list(dir) {
		if e.Type()&os.ModeSymlink != 0 && b.followLink(path.Join(dir, e.Name())) {
			found++
		}
	}
	return found
}

func (b *builder) followLink(p string) bool {
	real, met, info, err := b.host.resolve(p)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	if !b.covered(real) {
		prefix := path.Dir(path.Dir(real))
		if !b.isToolchain(prefix) {
			return false
		}
		if b.showPrefix(prefix); !b.covered(real) {
			return false
		}
	}
	b.link(met)
	return true
}
