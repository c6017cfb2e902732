package local

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest"
)

var noIsolation = sandbox.Spec{Local: sandbox.Local{Isolation: sandbox.IsolationNone}}

func TestBareConformance(t *testing.T) {
	lacks := map[string]string{
		"exec/signals to the first process":                           "it is the host's",
		"concurrent/processes of one sandbox are not seen in another": "all are the host's",
		"receive/nothing comes from outside the sandbox":              "absolute paths are the host's",
	}
	if os.Geteuid() != 0 {
		lacks["receive/files that the commands may not read"] = "there is nobody who may"
	}
	sandboxtest.Run(t, sandboxtest.Config{
		Open:     open,
		Spec:     noIsolation,
		Networks: []sandbox.Network{sandbox.NetworkHost},
		Lacks:    lacks,
	})
}

// What the lacking check would have seen: relative paths do not lead out, symlinks are not followed.
func TestBareReceivesFromWorkspace(t *testing.T) {
	sb := acquire(t, noIsolation)
	outside := t.TempDir()
	if err := os.WriteFile(outside+"/secret", []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	script := `ln -s "$1" dir; ln -s "$1/secret" file; echo mine > own`
	if res, err := sb.Exec(t.Context(), sandbox.Command{Argv: []string{"sh", "-c", script, "sh", outside}}, nil, nil); err != nil || res.Exit != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	for glob, want := range map[string]int{"**": 3, "dir/*": 0, "dir/secret": 0, "../**/secret": 0, "own": 1, outside + "/*": 1} {
		list, err := sandbox.List(t.Context(), sb, glob)
		if err != nil || len(list) != want {
			t.Errorf("%q: %v, %v, want %d files", glob, list, err, want)
		}
	}
}

func TestBareConformanceAsOrdinaryUser(t *testing.T) { asOrdinaryUser(t, "TestBareConformance") }

// acquire returns a sandbox of a run of its own.
func acquire(t *testing.T, spec sandbox.Spec) sandbox.Sandbox {
	t.Helper()
	p := open(t, sandbox.Run{ID: runID(t), Dir: t.TempDir()})
	sb, err := p.Acquire(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return sb
}

func TestBareIsRefused(t *testing.T) {
	type change = func(*Options, *sandbox.Spec)
	for _, tc := range []struct {
		name, want string
		change     change
	}{
		{"unless allowed", "--allow-no-isolation", func(o *Options, _ *sandbox.Spec) { o.AllowNoIsolation = false }},
		{"with a rootfs", "rootfs", func(_ *Options, s *sandbox.Spec) { s.Local.Rootfs = "/" }},
		{"with mounts", "mounts", func(_ *Options, s *sandbox.Spec) { s.Local.Mounts = []sandbox.Mount{{Source: "/usr"}} }},
		{"without a network", "network: host", func(_ *Options, s *sandbox.Spec) { s.Network = sandbox.NetworkNone }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			opts := Options{Run: sandbox.Run{ID: runID(t), Dir: t.TempDir()}, AllowNoIsolation: true}
			spec := noIsolation
			tc.change(&opts, &spec)
			p, err := Open(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close(context.Background())
			_, err = p.Acquire(t.Context(), spec)
			if sandbox.KindOf(err) != sandbox.KindUnsupported || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v of kind %v, want unsupported with %q", err, sandbox.KindOf(err), tc.want)
			}
			if left, _ := os.ReadDir(opts.Dir); len(left) > 0 {
				t.Errorf("%v was made", left)
			}
		})
	}
}

func TestBareLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	p := open(t, sandbox.Run{ID: runID(t), Dir: dir})
	sb, err := p.Acquire(t.Context(), noIsolation)
	if err != nil {
		t.Fatal(err)
	}
	// A folder that forbids to be emptied, and a process that has left everything but its mark.
	script := "mkdir -p d/e; touch d/e/f; chmod 0 d/e d; setsid env -i sh -c 'echo $$ > /proc/self/fd/3; exec sleep 1000' 3>pid >/dev/null 2>&1 & while ! [ -s pid ]; do sleep 0.01; done; cat pid"
	var out strings.Builder
	res, err := sb.Exec(t.Context(), sandbox.Command{Argv: []string{"sh", "-c", script}}, &out, nil)
	if err != nil || res.Exit != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	pid := strings.TrimSpace(out.String())
	if _, err := os.Stat("/proc/" + pid); err != nil || pid == "" {
		t.Fatalf("the process %q is not there before the release: %v", pid, err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if name, err := os.Readlink("/proc/" + pid + "/exe"); err == nil && filepath.Base(name) == "sleep" {
		t.Error("a process outlives its sandbox")
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

func TestBareWarns(t *testing.T) {
	p := open(t, sandbox.Run{ID: runID(t), Dir: t.TempDir()})
	defer p.Close(context.Background())
	lines := p.(sandbox.Warner).Warnings(noIsolation)
	if len(lines) != 1 || !strings.Contains(lines[0], "ISOLATES NOTHING") {
		t.Errorf("warnings %q", lines)
	}
}

// Only of sandboxes out of which there is no way it is said that nothing gets out.
func TestConfines(t *testing.T) {
	tests := []struct {
		name string
		spec sandbox.Spec
		want bool
	}{
		{"nothing said", sandbox.Spec{}, true},
		{"network none", sandbox.Spec{Network: sandbox.NetworkNone}, true},
		{"network case", sandbox.Spec{Network: sandbox.NetworkCase}, true},
		{"network host", sandbox.Spec{Network: sandbox.NetworkHost}, false},
		{"a root folder, copied on write", sandbox.Spec{Local: sandbox.Local{Rootfs: "/srv/root"}}, true},
		{"a writable mount", sandbox.Spec{Local: sandbox.Local{Mounts: []sandbox.Mount{{Source: "/srv", Writable: true}}}}, false},
		{"a mount that may hold a socket", sandbox.Spec{Local: sandbox.Local{Mounts: []sandbox.Mount{{Source: "/run"}}}}, false},
		{"no isolation", noIsolation, false},
	}
	for _, tt := range tests {
		if got := new(Provider).Confines(tt.spec); got != tt.want {
			t.Errorf("%s: confined is %v, want %v", tt.name, got, tt.want)
		}
	}
	var _ sandbox.Confiner = new(Provider)
}
