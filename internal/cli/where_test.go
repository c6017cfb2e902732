package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// settle resolves flags, variables as NAME=VALUE, and the file of profiles, in a folder of its own below a repository.
func settle(t *testing.T, flags, env, file string) (*where, error) {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "sub", "folder")
	for _, d := range []string{dir, filepath.Join(root, ".git")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if file != "" {
		if err := os.WriteFile(filepath.Join(root, profileFile), []byte(file), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var w where
	cmd := &cobra.Command{}
	w.add(cmd)
	if err := cmd.ParseFlags(strings.Fields(flags)); err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{}
	for v := range strings.FieldsSeq(env) {
		name, value, _ := strings.Cut(v, "=")
		vars[name] = value
	}
	err := w.resolve(func(name string) (string, bool) { v, ok := vars[name]; return v, ok }, dir)
	return &w, err
}

const twoProfiles = `default: lab
profiles:
  lab: {provider: kubernetes, connection: gateway, gateway-name: gw, template: t, ca-file: certs/ca.pem, gateway-timeout: 10s}
  near: {provider: kubernetes, connection: in-cluster, pod-ip: true, image: i, token-file: /run/token}
`

func TestWhere(t *testing.T) {
	tests := []struct {
		name, flags, env, file string
		want                   string // provider connection gateway-name origin
	}{
		{"nothing", "", "", "", "local tunnel  "},
		{"a flag", "--provider kubernetes --template t", "", "", "kubernetes tunnel  template t"},
		{"the environment", "", "SBXRUN_PROVIDER=kubernetes SBXRUN_WARMPOOL=w SBXRUN_CONNECTION=gateway SBXRUN_GATEWAY_NAME=g", "", "kubernetes gateway g warm pool w"},
		{"a flag wins over the environment", "--provider local", "SBXRUN_PROVIDER=kubernetes SBXRUN_TEMPLATE=t", "", "local tunnel  template t"},
		{"an empty variable says nothing", "", "SBXRUN_PROVIDER=", "", "local tunnel  "},
		{"the default profile", "", "", twoProfiles, "kubernetes gateway gw template t"},
		{"a profile by flag", "--profile near", "SBXRUN_PROFILE=lab", twoProfiles, "kubernetes in-cluster  image i"},
		{"a profile by the environment", "", "SBXRUN_PROFILE=near", twoProfiles, "kubernetes in-cluster  image i"},
		{"a flag wins over the profile", "--connection tunnel", "", twoProfiles, "kubernetes tunnel gw template t"},
		{"a flag wins over all of the profile", "--provider local", "", twoProfiles, "local gateway gw template t"},
		{"the environment wins over the profile", "", "SBXRUN_GATEWAY_NAME=other", twoProfiles, "kubernetes gateway other template t"},
		{"one source wins over another", "--image i", "SBXRUN_TEMPLATE=e", twoProfiles, "kubernetes gateway gw image i"},
		{"the environment is there for other runs too", "--provider kubernetes --image i", "SBXRUN_GATEWAY_NAME=g SBXRUN_API_URL=x", "", "kubernetes tunnel g image i"},
		{"an empty file", "", "", "# nothing\n", "local tunnel  "},
		{"no default", "", "", strings.Replace(twoProfiles, "default: lab\n", "", 1), "local tunnel  "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, err := settle(t, tt.flags, tt.env, tt.file)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join([]string{w.provider, w.connection, w.gatewayName, w.origin()}, " "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	w, err := settle(t, "", "", twoProfiles)
	if err != nil || !strings.HasSuffix(w.caFile, "/certs/ca.pem") || !filepath.IsAbs(w.caFile) || strings.Contains(w.caFile, "folder") || w.gatewayTimeout.Seconds() != 10 {
		t.Errorf("%s, %v, %v: a path of a profile is relative to its file", w.caFile, w.gatewayTimeout, err)
	}
	if w, err := settle(t, "--profile near", "", twoProfiles); err != nil || w.tokenFile != "/run/token" || !w.podIP {
		t.Errorf("%s, %v, %v", w.tokenFile, w.podIP, err)
	}
}

func TestWhereMistakes(t *testing.T) {
	tests := []struct{ name, flags, env, file, want string }{
		{"provider", "--provider k8s", "", "", `--provider is local or kubernetes, not "k8s"`},
		{"provider of the environment", "", "SBXRUN_PROVIDER=k8s", "", `SBXRUN_PROVIDER is local or kubernetes, not "k8s"`},
		{"provider of a profile", "", "", "default: a\nprofiles: {a: {provider: x}}", `.sbxrun.yaml:2:16: provider of the profile a is local or kubernetes, not "x"`},
		{"connection", "--provider kubernetes --connection tunel --image i", "", "", `--connection is tunnel or gateway or in-cluster or direct, not "tunel"`},
		{"a flag of the other provider", "--warmpool w", "", "", "--warmpool is for --provider kubernetes, and sandboxes come from this machine"},
		{"and with the provider said", "--provider local --namespace n", "", "", "--namespace is for --provider kubernetes"},
		{"a flag of another connection", "--provider kubernetes --connection tunnel --gateway-name g --image i", "", "", "--gateway-name is for --connection gateway, and the connection is tunnel"},
		{"a URL without direct", "--provider kubernetes --api-url http://x --image i", "", "", "--api-url is for --connection direct, and the connection is tunnel"},
		{"a pod's address through a gateway", "--provider kubernetes --connection gateway --gateway-name g --pod-ip --image i", "", "", "--pod-ip is for --connection in-cluster"},
		{"a flag against the profile", "--api-url http://x", "", twoProfiles, "--api-url is for --connection direct, and the connection is gateway"},
		{"a profile against itself", "", "", "default: a\nprofiles: {a: {provider: kubernetes, api-url: http://x, image: i}}", ".sbxrun.yaml:2:38: api-url of the profile a is for --connection direct"},
		{"a profile without a provider", "", "", "default: a\nprofiles: {a: {template: x}}", ".sbxrun.yaml:2:16: template of the profile a is for --provider kubernetes"},
		{"no gateway", "--provider kubernetes --connection gateway", "", "", "--connection gateway needs --gateway-name"},
		{"no URL", "--provider kubernetes --connection direct", "", "", "--connection direct needs --api-url"},
		{"no such URL", "--provider kubernetes --connection direct --api-url example.org", "", "", `--api-url: "example.org" is no URL such as https://`},
		{"two sources", "--provider kubernetes --template t --image i", "", "", "--template and --image exclude each other"},
		{"two sources of the environment", "--provider kubernetes", "SBXRUN_WARMPOOL=w SBXRUN_IMAGE=i", "", "SBXRUN_WARMPOOL and SBXRUN_IMAGE exclude each other"},
		{"no time to acquire", "--provider kubernetes --acquire-timeout 0s --template t", "", "", "--acquire-timeout: a time limit is positive"},
		{"no time", "--provider kubernetes --connection gateway --gateway-name g --gateway-timeout -1s", "", "", "--gateway-timeout: a time limit is positive"},
		{"a time of the environment", "", "SBXRUN_GATEWAY_TIMEOUT=soon", "", `SBXRUN_GATEWAY_TIMEOUT: a time such as 90s or 3m is needed, not "soon"`},
		{"a switch of the environment", "", "SBXRUN_POD_IP=maybe", "", `SBXRUN_POD_IP: true or false is needed, not "maybe"`},
		{"no file of profiles", "--profile lab", "", "", "--profile lab: no .sbxrun.yaml is here"},
		{"no such profile", "--profile labb", "", twoProfiles, ".sbxrun.yaml has no profile of this name; did you mean lab?"},
		{"no such profile by the environment", "", "SBXRUN_PROFILE=production", twoProfiles, "/.sbxrun.yaml has no profile of this name; it has lab, near"},
		{"no such default", "", "", "default: nera\nprofiles: {near: {}}", ".sbxrun.yaml:1:10: default: no profile is named nera; did you mean near?"},
		{"an unknown key", "", "", "profils: {}", `.sbxrun.yaml:1:1: unknown key "profils"; did you mean "profiles"?`},
		{"an unknown key of a profile", "", "", "profiles:\n  a:\n    conection: tunnel", `.sbxrun.yaml:3:5: unknown key "conection"; did you mean "connection"?`},
		{"of a profile that is not used", "--profile a", "", "profiles: {a: {}, b: {zzz: 1}}", `.sbxrun.yaml:1:23: unknown key "zzz"; known are acquire-timeout, api-url, `},
		{"a key twice", "", "", "profiles:\n  a: {image: x, image: y}", `.sbxrun.yaml:2:17: duplicate key "image"`},
		{"a list", "", "", "profiles: [a]", ".sbxrun.yaml:1:11: profiles must be a mapping"},
		{"a profile that is text", "", "", "profiles: {a: b}", ".sbxrun.yaml:1:15: profiles.a must be a mapping"},
		{"a value that is a list", "", "", "profiles: {a: {image: [x]}}", ".sbxrun.yaml:1:23: image: a text is needed"},
		{"no value", "", "", "profiles: {a: {image: }}", ".sbxrun.yaml:1:23: image: a text is needed"},
		{"a switch", "", "", "profiles: {a: {pod-ip: often}}", `.sbxrun.yaml:1:24: pod-ip: true or false is needed, not "often"`},
		{"a profile in a profile", "", "", "profiles: {a: {profile: b}}", `.sbxrun.yaml:1:16: unknown key "profile"`},
		{"no YAML", "", "", "a: [", ".sbxrun.yaml: line 1: did not find expected"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := settle(t, tt.flags, tt.env, tt.file)
			if err == nil || !strings.Contains(err.Error(), tt.want) || statusOf(err) != exitUsage {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

// Outside of a repository a file above is somebody else's.
func TestProfilesAreOfTheRepository(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "sub")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, profileFile), []byte("bad"), 0o644); err != nil {
		t.Fatal(err)
	}
	if path, err := findProfiles(dir); path != "" || err != nil {
		t.Errorf("found %s, %v", path, err)
	}
	if path, err := findProfiles(root); path != filepath.Join(root, profileFile) || err != nil {
		t.Errorf("found %s, %v", path, err)
	}
}

// What a run leaves is removed by a gc that looks where the run was.
func TestGCCommand(t *testing.T) {
	tests := []struct{ name, flags, env, file, want string }{
		{"this machine", "", "", "", "sbxrun gc"},
		{"a cluster", "--provider kubernetes --template t", "", "", "sbxrun gc --provider kubernetes"},
		{"which cluster", "--provider kubernetes --kubeconfig k8s/$lab --context c --namespace n", "", "",
			"sbxrun gc --provider kubernetes --kubeconfig 'k8s/$lab' --context c --namespace n"},
		{"by the environment", "", "SBXRUN_PROVIDER=kubernetes SBXRUN_NAMESPACE=n SBXRUN_IMAGE=i", "", "sbxrun gc --provider kubernetes --namespace n"},
		{"by the default profile", "", "", twoProfiles, "sbxrun gc"},
		{"by a profile", "--profile near --namespace n", "", twoProfiles, "sbxrun gc --profile near --namespace n"},
		{"this machine, against the profile", "--provider local", "SBXRUN_NAMESPACE=n", twoProfiles, "sbxrun gc --provider local"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, err := settle(t, tt.flags, tt.env, tt.file)
			if err != nil {
				t.Fatal(err)
			}
			if got := w.gcCommand(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
