package hostfs

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// manager is a version manager of the family that pyenv began: ROOT/shims holds a script for every program, which looks
// for the version to use and runs ROOT/versions/VERSION/bin/PROGRAM. The scripts need the manager's own programs and
// cost tens of milliseconds, and what they choose depends on files outside of the sandbox; so the choice is made here.
type manager struct{ name, rootVar, versionVar, file string }

var managers = []manager{
	{"pyenv", "PYENV_ROOT", "PYENV_VERSION", ".python-version"},
	{"rbenv", "RBENV_ROOT", "RBENV_VERSION", ".ruby-version"},
	{"nodenv", "NODENV_ROOT", "NODENV_VERSION", ".node-version"},
	{"goenv", "GOENV_ROOT", "GOENV_VERSION", ".go-version"},
	{"plenv", "PLENV_ROOT", "PLENV_VERSION", ".perl-version"},
	{"jenv", "JENV_ROOT", "JENV_VERSION", ".java-version"},
}

// versions says which folders stand behind a folder of PATH that belongs to a version manager, in the order in which
// they are searched. shims is true where they replace it; otherwise they come before it.
func (b *builder) versions(entry string) (dirs []string, shims bool) {
	for _, m := range managers {
		root := b.root(m.rootVar, "."+m.name)
		switch {
		case entry == path.Join(root, "shims"):
			return b.chosen(m, root), true
		case within(entry, root) && !within(entry, path.Join(root, "versions")):
			return nil, true // the manager itself (bin, libexec, plugins), of no use without its home
		}
	}
	asdf := b.root("ASDF_DATA_DIR", ".asdf")
	switch {
	case entry == path.Join(asdf, "shims"):
		return b.asdf(asdf), true
	case entry == path.Join(asdf, "bin"):
		return nil, true
	case entry == path.Join(b.root("CARGO_HOME", ".cargo"), "bin"):
		return b.rustup(), false
	}
	return nil, false
}

// root is a manager's folder: what its variable says, or its usual place in the home folder.
func (b *builder) root(variable, dir string) string {
	if v := b.getenv(variable); path.IsAbs(v) {
		return path.Clean(v)
	}
	return path.Join("/", b.env.Home, dir)
}

// chosen are the folders of programs of the versions that are in force for the folder sbxrun runs in. It shows all
// versions, so that a recipe may also name another one by its absolute path.
func (b *builder) chosen(m manager, root string) (dirs []string) {
	all := path.Join(root, "versions")
	for _, v := range b.wanted(m, root) {
		if v == "system" {
			continue // the next folders of PATH
		}
		dir := b.installed(all, strings.TrimPrefix(v, "python-"))
		if dir == "" {
			b.note("%s: version %s is not installed in %s", m.name, v, root)
			continue
		}
		dirs = append(dirs, dir+"/bin")
	}
	b.showAll(all)
	if len(dirs) > 0 {
		b.note("%s: PATH has %s in place of %s/shims", m.name, strings.Join(dirs, ":"), root)
	}
	return dirs
}

// showAll shows every toolchain in a folder of toolchains, by one mount where nothing else is in any of them.
func (b *builder) showAll(all string) {
	var prefixes []string
	whole := true
	for _, e := range b.host.list(all) {
		real, _, info, err := b.host.resolve(path.Join(all, e.Name()))
		if err != nil || !info.IsDir() || !b.mayBePrefix(real) {
			whole = false
			continue
		}
		_, pure := b.partsOf(real)
		whole = whole && pure
		prefixes = append(prefixes, real)
	}
	if whole && len(prefixes) > 0 && !hidden(all) {
		b.bind(all)
	}
	for _, p := range prefixes {
		b.showPrefix(p)
	}
}

// wanted are the versions that are in force, found as the managers do: variable, file upwards, the root's file.
func (b *builder) wanted(m manager, root string) []string {
	if v := b.getenv(m.versionVar); v != "" {
		return strings.Split(v, ":")
	}
	if b.env.Dir != "" {
		for dir := path.Clean(b.env.Dir); ; dir = path.Dir(dir) {
			if v := versionLines(b.host.text(path.Join(dir, m.file))); len(v) > 0 {
				return v
			}
			if dir == "/" || dir == "." {
				break
			}
		}
	}
	if v := versionLines(b.host.text(path.Join(root, "version"))); len(v) > 0 {
		return v
	}
	return []string{"system"}
}

func versionLines(text string) (versions []string) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		versions = append(versions, strings.Fields(line)...)
	}
	return versions
}

// installed is the folder of a version, or of the newest one that it is a prefix of (3.11 of 3.11.7); empty if there is none.
func (b *builder) installed(all, version string) string {
	if version == "" || strings.Contains(version, "/") || version == ".." {
		return ""
	}
	if dir := path.Join(all, version); b.host.isDir(dir + "/bin") {
		return dir
	}
	var best string
	for _, e := range b.host.list(all) {
		name := e.Name()
		if strings.HasPrefix(name, version+".") && b.host.isDir(path.Join(all, name, "bin")) && (best == "" || compareVersions(name, best) > 0) {
			best = name
		}
	}
	if best == "" {
		return ""
	}
	return path.Join(all, best)
}

// compareVersions compares the numbers in versions.
func compareVersions(x, y string) int {
	return slices.CompareFunc(strings.Split(x, "."), strings.Split(y, "."), func(a, b string) int {
		m, merr := strconv.Atoi(a)
		n, nerr := strconv.Atoi(b)
		if merr != nil || nerr != nil {
			return cmp.Compare(a, b)
		}
		return cmp.Compare(m, n)
	})
}

// asdf are the folders of programs of the versions that .tool-versions files choose, for all plugins.
func (b *builder) asdf(root string) (dirs []string) {
	tools := map[string][]string{}
	var files []string
	if b.env.Dir != "" {
		for dir := path.Clean(b.env.Dir); dir != "/" && dir != "."; dir = path.Dir(dir) {
			files = append(files, path.Join(dir, ".tool-versions"))
		}
	}
	for _, f := range append(files, path.Join("/", b.env.Home, ".tool-versions")) {
		for line := range strings.Lines(b.host.text(f)) {
			line, _, _ = strings.Cut(line, "#")
			if w := strings.Fields(line); len(w) > 1 && tools[w[0]] == nil {
				tools[w[0]] = w[1:]
			}
		}
	}
	for _, e := range b.host.list(path.Join(root, "installs")) {
		plugin := e.Name()
		versions := tools[plugin]
		if v := b.getenv("ASDF_" + strings.ToUpper(strings.ReplaceAll(plugin, "-", "_")) + "_VERSION"); v != "" {
			versions = strings.Fields(v)
		}
		for _, v := range versions {
			if strings.Contains(v, "/") || v == ".." {
				continue
			}
			for _, bin := range []string{"bin", "go/bin"} {
				if dir := path.Join(root, "installs", plugin, v, bin); b.host.isDir(dir) {
					dirs = append(dirs, dir)
				}
			}
		}
	}
	return dirs
}

var defaultToolchain = regexp.MustCompile(`(?m)^\s*default_toolchain\s*=\s*["']([^"'/]+)["']`)

// rustup is the folder of programs of the default toolchain: the programs of the same names in CARGO_HOME/bin are
// rustup itself, which would look for its toolchains in the sandbox's home.
func (b *builder) rustup() []string {
	root := b.root("RUSTUP_HOME", ".rustup")
	name := b.getenv("RUSTUP_TOOLCHAIN")
	if name == "" {
		if m := defaultToolchain.FindStringSubmatch(b.host.text(root + "/settings.toml")); m != nil {
			name = m[1]
		}
	}
	if name == "" || strings.Contains(name, "/") || name == ".." {
		return nil
	}
	all := root + "/toolchains"
	if dir := path.Join(all, name, "bin"); b.host.isDir(dir) {
		return []string{dir}
	}
	for _, e := range b.host.list(all) { // "stable" of stable-x86_64-unknown-linux-gnu
		if dir := path.Join(all, e.Name(), "bin"); strings.HasPrefix(e.Name(), name+"-") && b.host.isDir(dir) {
			return []string{dir}
		}
	}
	return nil
}

// Variables picks from an environment ("K=V") what Env.Getenv is asked for, so that a process which has no other part
// of it can answer.
func Variables(environ []string) map[string]string {
	wanted := map[string]bool{}
	for _, m := range managers {
		wanted[m.rootVar], wanted[m.versionVar] = true, true
	}
	for _, t := range tools {
		wanted[t.variable] = true
	}
	for _, v := range []string{"ASDF_DATA_DIR", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"} {
		wanted[v] = true
	}
	found := map[string]string{}
	for _, kv := range environ {
		k, v, _ := strings.Cut(kv, "=")
		if wanted[k] || strings.HasPrefix(k, "ASDF_") && strings.HasSuffix(k, "_VERSION") {
			found[k] = v
		}
	}
	return found
}
