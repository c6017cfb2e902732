package hostfs

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

const pyenv = `
	/home/u/.pyenv/shims/python3*
	/home/u/.pyenv/shims/tool*
	/home/u/.pyenv/bin/pyenv*
	/home/u/.pyenv/version = 3.11.7\n
	/home/u/.pyenv/versions/3.11.7/bin/python3*
	/home/u/.pyenv/versions/3.11.7/bin/tool*
	/home/u/.pyenv/versions/3.11.7/lib/os.py
	/home/u/.pyenv/versions/3.9.1/bin/python3*
	/home/u/.pyenv/versions/3.9.1/lib/
	/home/u/.pyenv/versions/3.9.18/bin/python3*
	/home/u/.pyenv/versions/3.9.18/lib/
`

// Every row: what PATH shows, which program a name finds in the sandbox, and which folders are shown for it.
func TestToolchains(t *testing.T) {
	for _, c := range []struct {
		name, host, path string
		vars             map[string]string
		program, at      string
		binds            []string // but for the system's
		wantPath         string
	}{
		{"pyenv", pyenv, "/home/u/.pyenv/shims:/home/u/.pyenv/bin:/usr/bin", nil, "python3", "/home/u/.pyenv/versions/3.11.7/bin/python3",
			[]string{"/home/u/.pyenv/versions"}, "/home/u/.pyenv/versions/3.11.7/bin:/usr/bin"},
		{"pyenv by variable", pyenv, "/home/u/.pyenv/shims:/usr/bin", map[string]string{"PYENV_VERSION": "3.9:3.11.7"}, "tool", "/home/u/.pyenv/versions/3.11.7/bin/tool",
			[]string{"/home/u/.pyenv/versions"}, "/home/u/.pyenv/versions/3.9.18/bin:/home/u/.pyenv/versions/3.11.7/bin:/usr/bin"},
		{"pyenv by file", pyenv + "/home/u/src/.python-version = 3.9.1 # old\\n\n/home/u/src/repo/\n", "/home/u/.pyenv/shims:/usr/bin", nil, "python3", "/home/u/.pyenv/versions/3.9.1/bin/python3",
			[]string{"/home/u/.pyenv/versions"}, "/home/u/.pyenv/versions/3.9.1/bin:/usr/bin"},
		{"pyenv: the system's", pyenv, "/home/u/.pyenv/shims:/usr/bin", map[string]string{"PYENV_VERSION": "system"}, "python3", "/usr/bin/python3.11",
			[]string{"/home/u/.pyenv/versions"}, "/usr/bin"},
		{"pyenv: no such version", pyenv, "/home/u/.pyenv/shims:/usr/bin", map[string]string{"PYENV_VERSION": "../../../etc"}, "python3", "/usr/bin/python3.11",
			[]string{"/home/u/.pyenv/versions"}, "/usr/bin"},
		{"pyenv elsewhere, with a token", "/srv/pyenv/shims/python3*\n/srv/pyenv/versions/3.12.0/bin/python3*\n/srv/pyenv/versions/3.12.0/lib/\n/srv/pyenv/versions/3.12.0/pip.conf = SECRET\n/srv/pyenv/version = 3.12.0\n",
			"/srv/pyenv/shims", map[string]string{"PYENV_ROOT": "/srv/pyenv"}, "python3", "/srv/pyenv/versions/3.12.0/bin/python3",
			[]string{"/srv/pyenv/versions/3.12.0/bin", "/srv/pyenv/versions/3.12.0/lib"}, "/srv/pyenv/versions/3.12.0/bin"},
		{"virtual environment of pyenv", pyenv + "/home/u/.pyenv/versions/app -> 3.11.7/envs/app\n/home/u/.pyenv/versions/3.11.7/envs/app/bin/python3 -> /home/u/.pyenv/versions/3.11.7/bin/python3\n/home/u/.pyenv/versions/3.11.7/envs/app/pyvenv.cfg = x\n",
			"/home/u/.pyenv/shims", map[string]string{"PYENV_VERSION": "app"}, "python3", "/home/u/.pyenv/versions/3.11.7/bin/python3",
			[]string{"/home/u/.pyenv/versions"}, "/home/u/.pyenv/versions/app/bin"},
		{"virtual environment in the checkout", pyenv + "/home/u/src/repo/.env = SECRET\n/home/u/src/repo/.venv/bin/python3 -> /home/u/.pyenv/versions/3.11.7/bin/python3\n/home/u/src/repo/.venv/lib/x\n/home/u/src/repo/.venv/pyvenv.cfg = home = /home/u/.pyenv/versions/3.11.7/bin\n/home/u/src/repo/.venv/pip.conf = SECRET\n",
			"/home/u/src/repo/.venv/bin:/usr/bin", nil, "python3", "/home/u/.pyenv/versions/3.11.7/bin/python3",
			[]string{"/home/u/.pyenv/versions/3.11.7", "/home/u/src/repo/.venv/bin", "/home/u/src/repo/.venv/lib", "/home/u/src/repo/.venv/pyvenv.cfg"}, "/home/u/src/repo/.venv/bin:/usr/bin"},
		{"the checkout is a virtual environment", "/home/u/src/repo/bin/python3 -> /usr/bin/python3\n/home/u/src/repo/lib/x\n/home/u/src/repo/pyvenv.cfg = x\n/home/u/src/repo/src/key = SECRET\n/home/u/src/repo/test/key = SECRET\n",
			"/home/u/src/repo/bin", nil, "python3", "/usr/bin/python3.11",
			[]string{"/home/u/src/repo/bin", "/home/u/src/repo/lib", "/home/u/src/repo/pyvenv.cfg"}, "/home/u/src/repo/bin"},
		{"the checkout looks like a toolchain", "/home/u/src/repo/bin/python3*\n/home/u/src/repo/lib/key = SECRET\n", "/home/u/src/repo/bin:/usr/bin", nil, "python3", "/usr/bin/python3.11", nil, "/usr/bin"},
		{"nvm", "/home/u/.nvm/versions/node/v20.1.0/bin/node*\n/home/u/.nvm/versions/node/v20.1.0/lib/node_modules/\n/home/u/.nvm/versions/node/v20.1.0/etc/npmrc = SECRET\n",
			"/home/u/.nvm/versions/node/v20.1.0/bin", nil, "node", "/home/u/.nvm/versions/node/v20.1.0/bin/node",
			[]string{"/home/u/.nvm/versions/node/v20.1.0/bin", "/home/u/.nvm/versions/node/v20.1.0/lib"}, "/home/u/.nvm/versions/node/v20.1.0/bin"},
		{"fnm", "/home/u/.local/share/fnm/node-versions/v20/installation/bin/node*\n/home/u/.local/share/fnm/node-versions/v20/installation/lib/\n/run/user/1000/fnm_multishells/1 -> /home/u/.local/share/fnm/node-versions/v20/installation\n",
			"/run/user/1000/fnm_multishells/1/bin", nil, "node", "/home/u/.local/share/fnm/node-versions/v20/installation/bin/node",
			[]string{"/home/u/.local/share/fnm/node-versions/v20/installation"}, "/home/u/.local/share/fnm/node-versions/v20/installation/bin"},
		{"cargo and rustup", "/home/u/.cargo/bin/rustup*\n/home/u/.cargo/bin/cargo -> rustup\n/home/u/.cargo/bin/rg*\n/home/u/.cargo/credentials.toml = SECRET\n/home/u/.rustup/settings.toml = default_toolchain = \"stable\"\\n\n/home/u/.rustup/toolchains/stable-x86_64/bin/cargo*\n/home/u/.rustup/toolchains/stable-x86_64/lib/\n",
			"/home/u/.cargo/bin:/usr/bin", nil, "cargo", "/home/u/.rustup/toolchains/stable-x86_64/bin/cargo",
			[]string{"/home/u/.cargo/bin", "/home/u/.rustup/toolchains/stable-x86_64"}, "/home/u/.rustup/toolchains/stable-x86_64/bin:/home/u/.cargo/bin:/usr/bin"},
		{"conda", "/home/u/miniconda3/conda-meta/history\n/home/u/miniconda3/.condarc = SECRET\n/home/u/miniconda3/bin/python3 -> python3.12\n/home/u/miniconda3/bin/python3.12*\n/home/u/miniconda3/lib/\n/home/u/miniconda3/pkgs/\n",
			"/home/u/miniconda3/bin", nil, "python3", "/home/u/miniconda3/bin/python3.12",
			[]string{"/home/u/miniconda3/bin", "/home/u/miniconda3/lib"}, "/home/u/miniconda3/bin"},
		{"sdkman", "/home/u/.sdkman/candidates/java/17/bin/java*\n/home/u/.sdkman/candidates/java/17/lib/\n/home/u/.sdkman/candidates/java/17/release\n/home/u/.sdkman/candidates/java/current -> 17\n/home/u/.sdkman/etc/config = SECRET\n",
			"/home/u/.sdkman/candidates/java/current/bin", nil, "java", "/home/u/.sdkman/candidates/java/17/bin/java",
			[]string{"/home/u/.sdkman/candidates/java/17"}, "/home/u/.sdkman/candidates/java/current/bin"},
		{"asdf", "/home/u/.asdf/shims/node*\n/home/u/.asdf/installs/nodejs/20.1.0/bin/node*\n/home/u/.asdf/installs/nodejs/20.1.0/lib/\n/home/u/.asdf/installs/golang/1.22/go/bin/go*\n/home/u/.asdf/installs/golang/1.22/go/pkg/\n/home/u/.tool-versions = nodejs 20.1.0\\ngolang 1.22\\n\n",
			"/home/u/.asdf/shims:/usr/bin", nil, "node", "/home/u/.asdf/installs/nodejs/20.1.0/bin/node",
			[]string{"/home/u/.asdf/installs/golang/1.22/go", "/home/u/.asdf/installs/nodejs/20.1.0"}, "/home/u/.asdf/installs/golang/1.22/go/bin:/home/u/.asdf/installs/nodejs/20.1.0/bin:/usr/bin"},
		{"Go's own", "/home/u/sdk/go1.25/bin/go*\n/home/u/sdk/go1.25/src/\n/home/u/sdk/go1.25/lib/\n/home/u/sdk/go1.25/VERSION\n/home/u/go/bin/gopls*\n/home/u/go/pkg/mod/key = SECRET\n",
			"/home/u/sdk/go1.25/bin:/home/u/go/bin", nil, "gopls", "/home/u/go/bin/gopls",
			[]string{"/home/u/go/bin", "/home/u/sdk/go1.25"}, "/home/u/sdk/go1.25/bin:/home/u/go/bin"},
		{"a CI runner's tool cache", "/home/u/_work/_tool/Python/3.12.1/x64/bin/python3*\n/home/u/_work/_tool/Python/3.12.1/x64/lib/\n/home/u/_work/_tool/Python/3.12.1/x64.complete\n/home/u/.credentials = SECRET\n",
			"/home/u/_work/_tool/Python/3.12.1/x64/bin", nil, "python3", "/home/u/_work/_tool/Python/3.12.1/x64/bin/python3",
			[]string{"/home/u/_work/_tool/Python/3.12.1/x64"}, "/home/u/_work/_tool/Python/3.12.1/x64/bin"},
		{"a link of uv in the user's own folder", "/home/u/.local/bin/python3 -> /home/u/.local/share/uv/python/cpython-3.12/bin/python3\n/home/u/.local/share/uv/python/cpython-3.12 -> cpython-3.12.3\n/home/u/.local/share/uv/python/cpython-3.12.3/bin/python3*\n/home/u/.local/share/uv/python/cpython-3.12.3/lib/\n/home/u/.local/bin/deploy.sh = SECRET\n/home/u/.local/lib/key = SECRET\n/home/u/.local/bin/key -> ../../.ssh/id_ed25519\n",
			"/home/u/.local/bin:/usr/bin", nil, "python3", "/home/u/.local/share/uv/python/cpython-3.12.3/bin/python3",
			[]string{"/home/u/.local/share/uv/python/cpython-3.12.3"}, "/home/u/.local/bin:/usr/bin"},
		{"the user's own folder, holding a python and a lib", "/home/u/.local/bin/python3*\n/home/u/.local/lib/x = SECRET\n/home/u/bin/python3*\n/home/u/lib/x = SECRET\n", "/home/u/.local/bin:/home/u/bin:/usr/bin", nil, "python3", "/usr/bin/python3.11", nil, "/usr/bin"},
		{"odd entries", "/home/u/x/a*\n", ":.:bin:/nonexistent:/usr/bin:/usr/bin/:/proc:/run:/home/u/x:/", nil, "python3", "/usr/bin/python3.11", nil, "/usr/bin"},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := Env{Root: makeHost(t, merged+c.host), Path: c.path, Home: "/home/u", Dir: "/home/u/src/repo", UID: 1000, Getenv: func(k string) string { return c.vars[k] }}
			tree := discover(t, env)
			if got := tree.Find(env, c.program); got != c.at {
				t.Errorf("%s is %q", c.program, got)
			}
			got := slices.DeleteFunc(targets(tree), func(s string) bool { return s == "/usr" || strings.HasPrefix(s, "/etc/") })
			if !slices.Equal(got, c.binds) {
				t.Errorf("binds %v", got)
			}
			if tree.Path != c.wantPath {
				t.Errorf("PATH %s", tree.Path)
			}
			again := discover(t, env)
			if again.Path != tree.Path || !slices.Equal(again.Binds, tree.Binds) || !slices.Equal(again.Links, tree.Links) || !slices.Equal(again.Notes, tree.Notes) {
				t.Error("it is another tree the second time")
			}
			for _, b := range tree.Binds {
				if b.IDMap {
					t.Errorf("an ordinary user's %s is to be id-mapped", b.Source)
				}
			}
		})
	}
}

// A program that the sandbox finds elsewhere, or not at all, is told.
func TestChanged(t *testing.T) {
	env := Env{Root: makeHost(t, merged+pyenv+"/home/u/bin/python3*\n/home/u/bin/mine*\n/home/u/.cargo/bin/rustup*\n/home/u/.cargo/bin/cargo -> rustup\n"),
		Path: "/home/u/bin:/home/u/.pyenv/shims:/usr/bin", Home: "/home/u"}
	tree := discover(t, env)
	got := tree.Changed(env, "python3", "mine", "env", "tool", "nowhere", "", "/bin/x")
	want := []Change{
		{"python3", "/home/u/bin/python3", "/home/u/.pyenv/versions/3.11.7/bin/python3"},
		{"mine", "/home/u/bin/mine", ""},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// The process that discovers may have no environment but what Variables picks: the result must be the same.
func TestVariables(t *testing.T) {
	environ := []string{"PYENV_VERSION=3.9.1", "CARGO_HOME=/x", "ASDF_NODEJS_VERSION=20", "GOPATH=", "TOKEN=SECRET", "PATH=/bin", "PYENV_SHELL=bash", "noequals"}
	want := map[string]string{"PYENV_VERSION": "3.9.1", "CARGO_HOME": "/x", "ASDF_NODEJS_VERSION": "20", "GOPATH": ""}
	if got := Variables(environ); !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	asked := map[string]bool{}
	env := Env{Root: makeHost(t, merged+pyenv+"/home/u/.cargo/bin/rustup*\n/home/u/.asdf/shims/x*\n/home/u/.asdf/installs/golang-ci/1/bin/x*\n"), Home: "/home/u",
		Path:   "/home/u/.pyenv/shims:/home/u/.cargo/bin:/home/u/.asdf/shims:/home/u/bin:/usr/bin",
		Getenv: func(k string) string { asked[k] = true; return "" }}
	discover(t, env)
	for k := range asked {
		if _, ok := Variables([]string{k + "=x"})[k]; !ok {
			t.Errorf("%s is asked for and not picked", k)
		}
	}
}
