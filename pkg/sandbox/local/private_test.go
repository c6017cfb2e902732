package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// No mount shows what sbxrun keeps of runs: what a sandbox wrote there would be believed, and what gc reads there removed.
// Nor can the folders above it be put aside to make others in their place.
func TestMountsHideWhatIsPrivate(t *testing.T) {
	top := t.TempDir()
	os.Chmod(filepath.Dir(top), 0o755)
	run := filepath.Join(top, "project/build/.sbxrun/runs/one")
	for _, dir := range []string{run, filepath.Join(top, "project/build/out")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	log := filepath.Join(run, "events.jsonl")
	if err := os.WriteFile(log, []byte("recorded\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	p := open(t, sandbox.Run{ID: runID(t), Dir: run})
	defer func() {
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	state := p.(*Provider).state
	sb, err := p.Acquire(t.Context(), sandbox.Spec{Local: sandbox.Local{Mounts: []sandbox.Mount{
		{Source: filepath.Join(top, "project"), Target: "/data/project", Writable: true},
		{Source: filepath.Join(top, "project"), Target: "/workspace/project"},
		{Source: filepath.Dir(state), Target: "/data/state", Writable: true},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	res, err := sb.Exec(t.Context(), sandbox.Command{Argv: []string{"sh", "-c", `
for hidden in /data/project/build/.sbxrun /workspace/project/build/.sbxrun "/data/state/$0"; do
	[ -d "$hidden" ] || echo "$hidden is not there"
	ls -A "$hidden"
	! echo forged >"$hidden/events.jsonl" || echo "written to $hidden"
	! mv "$hidden" "$hidden-away" || echo "$hidden is moved"
	! rmdir "$hidden" || echo "$hidden is removed"
done
! mv /data/project/build /data/project/away || echo "the folder above is moved"
echo new >/data/project/build/out/new && echo new >/data/project/build/new && echo new >/data/project/new && ls /data/project/build
`, filepath.Base(state)}}, &out, nil)
	if err != nil || res.Exit != 0 || out.String() != "new\nout\n" {
		t.Errorf("%+v, %v: %q", res, err, out.String())
	}
	if b, err := os.ReadFile(log); err != nil || string(b) != "recorded\n" {
		t.Errorf("the run's own log: %q, %v", b, err)
	}
	for _, source := range []string{run, state} {
		_, err := p.Acquire(t.Context(), sandbox.Spec{Local: sandbox.Local{Mounts: []sandbox.Mount{{Source: source, Target: "/data"}}}})
		if sandbox.KindOf(err) != sandbox.KindUnsupported || !strings.Contains(err.Error(), "keeps its own files in") {
			t.Errorf("a mount of %s: %v", source, err)
		}
	}
}

// A link on the way to what is private could be replaced in a writable mount, and what is written by that name then goes elsewhere.
func TestMountsRefuseLinksToWhatIsPrivate(t *testing.T) {
	top := t.TempDir()
	project := filepath.Join(top, "project")
	if err := os.MkdirAll(filepath.Join(top, "kept/runs/one"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(project, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../kept", filepath.Join(project, ".sbxrun")); err != nil {
		t.Fatal(err)
	}
	p := open(t, sandbox.Run{ID: runID(t), Dir: filepath.Join(project, ".sbxrun/runs/one")})
	defer p.Close(t.Context())
	for _, writable := range []bool{true, false} {
		_, err := p.Acquire(t.Context(), sandbox.Spec{Local: sandbox.Local{Mounts: []sandbox.Mount{{Source: project, Target: "/data", Writable: writable}}}})
		if refused := sandbox.KindOf(err) == sandbox.KindUnsupported && strings.Contains(err.Error(), ".sbxrun is a symbolic link"); refused != writable {
			t.Errorf("writable %v: %v", writable, err)
		}
	}
}

func TestMountsHideWhatIsPrivateAsOrdinaryUser(t *testing.T) {
	asOrdinaryUser(t, "TestMountsHideWhatIsPrivate")
}
