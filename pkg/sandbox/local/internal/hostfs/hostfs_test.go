package hostfs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A made-up host: a line is a path that ends in a slash (a folder), "path -> target" (a link), "path*" (a program), or
// "path = text" (a file).
func makeHost(t testing.TB, lines string) string {
	t.Helper()
	root := t.TempDir()
	for line := range strings.Lines(lines) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		name, text, mode := line, "", os.FileMode(0o644)
		var err error
		if n, target, ok := strings.Cut(line, " -> "); ok {
			mkdir(t, filepath.Dir(root+n))
			err = os.Symlink(target, root+n)
		} else if strings.HasSuffix(line, "/") {
			mkdir(t, root+line)
		} else {
			if n, data, ok := strings.Cut(line, " = "); ok {
				name, text = n, strings.ReplaceAll(data, `\n`, "\n")
			} else if n, ok := strings.CutSuffix(line, "*"); ok {
				name, mode = n, 0o755
			}
			mkdir(t, filepath.Dir(root+name))
			err = os.WriteFile(root+name, []byte(text), mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func mkdir(t testing.TB, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// merged is a Debian as it is today; secrets is what must never be seen of it.
const merged = `
	/usr/bin/python3 -> python3.11
	/usr/bin/python3.11*
	/usr/bin/env*
	/usr/local/bin/
	/usr/lib/x86_64-linux-gnu/libc.so.6
	/usr/share/zoneinfo/Etc/UTC = tz
	/bin -> usr/bin
	/sbin -> usr/sbin
	/lib -> usr/lib
	/lib64 -> usr/lib64
	/usr/sbin/
	/usr/lib64/
	/etc/ld.so.cache = cache
	/etc/localtime -> /usr/share/zoneinfo/Etc/UTC
	/etc/ssl/certs/ca-certificates.crt = certs
	/etc/alternatives/java -> /usr/bin/java
	/etc/resolv.conf = nameserver 192.0.2.1
	/etc/hosts = 192.0.2.7 inside
` + secrets

const secrets = `
	/etc/passwd = SECRET
	/etc/group = SECRET
	/etc/shadow = SECRET
	/etc/environment = SECRET
	/etc/npmrc = SECRET
	/etc/pip.conf = SECRET
	/etc/gitconfig = SECRET
	/etc/machine-id = SECRET
	/etc/hostname = SECRET
	/etc/ssh/ssh_host_ed25519_key = SECRET
	/etc/ssl/private/key.pem = SECRET
	/etc/krb5.keytab = SECRET
	/etc/sudoers = SECRET
	/etc/maven/settings.xml = SECRET
	/home/u/.ssh/id_ed25519 = SECRET
	/home/u/.config/gh/hosts.yml = SECRET
	/home/u/.netrc = SECRET
	/home/u/.local/share/keyrings/login.keyring = SECRET
	/root/.ssh/id_ed25519 = SECRET
	/run/docker.sock = SECRET
	/var/lib/secret = SECRET
	/tmp/secret = SECRET
`

func discover(t *testing.T, env Env) Tree {
	t.Helper()
	tree, err := Discover(env)
	if err != nil {
		t.Fatal(err)
	}
	checkTree(t, env.Root, tree)
	return tree
}

// checkTree holds what is true of every tree: what can be built can be built in the promised order, nothing lies in a
// bind, nothing is hidden, and no secret of the host can be reached.
func checkTree(t *testing.T, root string, tree Tree) {
	t.Helper()
	there := map[string]bool{"/": true}
	for _, d := range tree.Dirs {
		if !there[filepath.Dir(d.Path)] || there[d.Path] {
			t.Errorf("folder %s: before its parent, or twice", d.Path)
		}
		there[d.Path] = true
	}
	leaf := func(p string) {
		if !there[filepath.Dir(p)] || there[p] {
			t.Errorf("%s: without a parent, or twice", p)
		}
		there[p] = true
	}
	for _, l := range tree.Links {
		leaf(l.Name)
	}
	for _, f := range tree.Files {
		leaf(f.Path)
		if strings.Contains(string(f.Data), "SECRET") {
			t.Errorf("%s shows a secret", f.Path)
		}
	}
	for _, b := range tree.Binds {
		leaf(b.Target)
		if b.Source != b.Target || hidden(b.Source) {
			t.Errorf("bind %+v", b)
		}
		if info, err := os.Lstat(root + b.Source); err != nil || info.Mode()&os.ModeSymlink != 0 || info.IsDir() == b.File {
			t.Errorf("bind %+v: %v, %v", b, info, err)
		}
		if root == "" {
			continue
		}
		err := filepath.WalkDir(root+b.Source, func(p string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			if data, err := os.ReadFile(p); err == nil && strings.Contains(string(data), "SECRET") {
				t.Errorf("%s shows a secret", strings.TrimPrefix(p, root))
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func targets(tree Tree) (names []string) {
	for _, b := range tree.Binds {
		names = append(names, b.Target)
	}
	return names
}

func link(tree Tree, name string) string {
	for _, l := range tree.Links {
		if l.Name == name {
			return l.Target
		}
	}
	return ""
}

func file(tree Tree, name string) string {
	for _, f := range tree.Files {
		if f.Path == name {
			return string(f.Data)
		}
	}
	return ""
}

func TestSystem(t *testing.T) {
	root := makeHost(t, merged)
	tree := discover(t, Env{Root: root, Path: "/usr/local/bin:/usr/bin:/bin", Home: "/home/u", UID: 1000})
	if want := []string{"/etc/alternatives", "/etc/ssl/certs", "/usr"}; !slices.Equal(targets(tree), want) {
		t.Errorf("binds %v", targets(tree))
	}
	for name, want := range map[string]string{
		"/bin": "usr/bin", "/sbin": "usr/sbin", "/lib": "usr/lib", "/lib64": "usr/lib64",
		"/etc/localtime": "/usr/share/zoneinfo/Etc/UTC", "/etc/mtab": "/proc/self/mounts",
	} {
		if got := link(tree, name); got != want {
			t.Errorf("%s -> %q", name, got)
		}
	}
	if file(tree, "/etc/ld.so.cache") != "cache" || file(tree, "/etc/resolv.conf") != "" || strings.Contains(file(tree, "/etc/hosts"), "inside") {
		t.Errorf("files %v", tree.Files)
	}
	if !strings.Contains(file(tree, "/etc/passwd"), "\nsandbox:x:1000:1000:") || strings.Count(file(tree, "/etc/passwd"), "\n") != 3 {
		t.Errorf("passwd %q", file(tree, "/etc/passwd"))
	}
	if tree.Path != "/usr/local/bin:/usr/bin:/bin" {
		t.Errorf("PATH %s", tree.Path)
	}
	if got := tree.Find(Env{Root: root}, "python3"); got != "/usr/bin/python3.11" {
		t.Errorf("python3 is %s", got)
	}
}

func TestHostNetwork(t *testing.T) {
	tree := discover(t, Env{Root: makeHost(t, merged), HostNetwork: true})
	if !strings.Contains(file(tree, "/etc/resolv.conf"), "192.0.2.1") || !strings.Contains(file(tree, "/etc/hosts"), "inside") {
		t.Errorf("files %v", tree.Files)
	}
	if tree.Path != "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" {
		t.Errorf("the PATH of a host without one is %s", tree.Path)
	}
}

func TestNoSystem(t *testing.T) {
	if _, err := Discover(Env{Root: makeHost(t, "/etc/passwd = x\n")}); err == nil {
		t.Error("no error")
	}
}

// Other systems: folders that are not merged, links where Debian has folders, everything elsewhere.
func TestOtherSystems(t *testing.T) {
	for _, c := range []struct {
		name, host, path string
		binds            []string
		links            map[string]string
		wantPath         string
		program, at      string
	}{
		{"Alpine", "/bin/sh*\n/sbin/\n/lib/libc.so\n/usr/bin/python3*\n/etc/ssl/cert.pem = x\n", "/usr/bin:/bin:/sbin",
			[]string{"/bin", "/lib", "/sbin", "/usr"}, nil, "/usr/bin:/bin:/sbin", "python3", "/usr/bin/python3"},
		{"Silverblue", "/usr/bin/sh*\n/bin -> usr/bin\n/usr/local -> ../var/usrlocal\n/var/usrlocal/bin/tool*\n/opt -> var/opt\n/var/opt/x/\n/home -> var/home\n/var/home/u/.secret = SECRET\n",
			"/usr/local/bin:/usr/bin", []string{"/usr", "/var/opt", "/var/usrlocal"}, map[string]string{"/opt": "var/opt", "/bin": "usr/bin"},
			"/usr/local/bin:/usr/bin", "tool", "/var/usrlocal/bin/tool"},
		{"NixOS", "/nix/store/1-sw/bin/python3 -> /nix/store/2-py/bin/python3\n/nix/store/2-py/bin/python3*\n/bin/sh -> /nix/store/3-sh/bin/sh\n/nix/store/3-sh/bin/sh*\n/usr/bin/env -> /nix/store/3-sh/bin/sh\n/run/current-system/sw -> /nix/store/1-sw\n/run/wrappers/bin/sudo*\n",
			"/run/wrappers/bin:/run/current-system/sw/bin", []string{"/bin", "/nix/store", "/usr"}, nil, "/nix/store/1-sw/bin", "python3", "/nix/store/2-py/bin/python3"},
		{"Fedora's certificates", "/usr/bin/sh*\n/etc/ssl/certs -> ../pki/tls/certs\n/etc/pki/tls/certs/bundle = x\n/etc/pki/tls/private/key = SECRET\n", "/usr/bin",
			[]string{"/etc/pki/tls/certs", "/usr"}, map[string]string{"/etc/ssl/certs": "../pki/tls/certs"}, "/usr/bin", "sh", "/usr/bin/sh"},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := Env{Root: makeHost(t, c.host), Path: c.path, Home: "/home/u", UID: os.Getuid() + 1} // nothing in /opt is the user's
			tree := discover(t, env)
			if !slices.Equal(targets(tree), c.binds) {
				t.Errorf("binds %v", targets(tree))
			}
			for name, want := range c.links {
				if got := link(tree, name); got != want {
					t.Errorf("%s -> %q", name, got)
				}
			}
			if tree.Path != c.wantPath {
				t.Errorf("PATH %s", tree.Path)
			}
			if got := tree.Find(env, c.program); got != c.at {
				t.Errorf("%s is %q", c.program, got)
			}
		})
	}
}

// What an ordinary user owns in /opt is left out but for the toolchains of PATH.
func TestOptOfTheUser(t *testing.T) {
	root := makeHost(t, merged+"/opt/runner/.credentials = SECRET\n/opt/py/bin/python3*\n/opt/py/lib/\n/opt/py/pip.conf = SECRET\n")
	env := Env{Root: root, Path: "/opt/py/bin:/opt/runner:/usr/bin", UID: os.Getuid()}
	if env.UID == 0 {
		for _, p := range []string{"/opt/runner", "/opt/py"} {
			if err := os.Chown(root+p, 1000, 1000); err != nil {
				t.Fatal(err)
			}
		}
		env.UID = 1000
	}
	tree := discover(t, env)
	if got := tree.Find(env, "python3"); got != "/opt/py/bin/python3" || tree.Path != "/opt/py/bin:/usr/bin" {
		t.Errorf("python3 is %s in %s", got, tree.Path)
	}
}

// A toolchain that only its owner may read is of use to other ids only if it is id-mapped.
func TestPrivateToolchainIsIDMapped(t *testing.T) {
	root := makeHost(t, merged+pyenv+"/root/.nvm/versions/node/v1/bin/node*\n/root/.nvm/versions/node/v1/lib/\n")
	for _, dir := range []string{"/home/u", "/home/u/.pyenv", "/root", "/root/.nvm/versions/node/v1/bin"} {
		if err := os.Chmod(root+dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	env := Env{Root: root, Path: "/home/u/.pyenv/shims:/root/.nvm/versions/node/v1/bin:/usr/bin", Home: "/home/u"}
	for _, b := range discover(t, env).Binds {
		if want := strings.Contains(b.Source, ".nvm"); b.IDMap != want {
			t.Errorf("%s: %t; a private home around a public folder does not matter, a private folder in it does", b.Source, b.IDMap)
		}
	}
}

// On the machine of the test the programs that tests and examples name must be what the host's PATH finds.
func TestThisHost(t *testing.T) {
	env := HostEnv()
	tree := discover(t, env)
	if got := tree.Changed(env, "sh", "python3", "env", "cat", "go", "git", "node"); len(got) != 0 {
		t.Errorf("changed: %v\nPATH %s", got, tree.Path)
	}
	if tree.Find(env, "sh") == "" || tree.Find(env, "no-such-program") != "" {
		t.Error("sh is not found, or what is not there is")
	}
	for _, b := range tree.Binds {
		for _, secret := range []string{"/etc/shadow", "/etc/passwd", "/etc/ssh", env.Home, env.Home + "/.ssh", env.Home + "/.cargo/registry"} {
			if secret != "" && within(secret, b.Source) {
				t.Errorf("%s is within the bind %s", secret, b.Source)
			}
		}
	}
}

// Version files belong to checkouts, whose authors are not trusted, and PATH may be anything: whatever they say, no
// secret is shown.
func FuzzDiscover(f *testing.F) {
	f.Add("/home/u/.pyenv/shims:/home/u/.asdf/shims", "3.11.7", "nodejs ../../x")
	f.Add("/home/u/.ssh:/home/u/.config:/root/.ssh:/run", "..", "nodejs ..")
	f.Add("/home/u/src/repo/bin:/home/u/src/repo/evil", "system\n3.9", "# x\n")
	root := makeHost(f, merged+pyenv+`
		/home/u/src/repo/evil -> ../../.ssh
		/home/u/src/repo/bin/python3 -> /home/u/.ssh/id_ed25519
		/home/u/src/repo/.venv/pyvenv.cfg = home = /home/u/.ssh
		/home/u/src/repo/.venv/bin/python3 -> ../../../../.config/gh/hosts.yml
		/home/u/.asdf/installs/nodejs/20/bin/node*
		/home/u/.asdf/installs/nodejs/20/etc/npmrc = SECRET
	`)
	f.Fuzz(func(t *testing.T, path, version, tools string) {
		for name, text := range map[string]string{".python-version": version, ".tool-versions": tools} {
			if err := os.WriteFile(root+"/home/u/src/repo/"+name, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		discover(t, Env{Root: root, Path: path, Home: "/home/u", Dir: "/home/u/src/repo", UID: 1000})
	})
}
