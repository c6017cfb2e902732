package local

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// run executes a shell script in a new sandbox and returns its stdout.
func run(t *testing.T, spec sandbox.Spec, script string) (string, sandbox.Result) {
	t.Helper()
	ctx := context.Background()
	p := open(t, sandbox.Run{ID: runID(t), Dir: t.TempDir()})
	defer func() {
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	sb, err := p.Acquire(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	res, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"sh", "-e"}, Script: []byte(script)}, &out, &errs)
	if err != nil {
		t.Fatal(err)
	}
	if errs.Len() > 0 {
		t.Logf("stderr: %s", errs.String())
	}
	return out.String(), res
}

func runID(t *testing.T) string {
	id := strings.ToLower(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, t.Name()))
	return fmt.Sprintf("%s-%x", id[:min(len(id), 12)], time.Now().UnixNano()&0xffffffff)
}

// makeRootfs makes a root folder of a few of the host's programs.
func makeRootfs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	os.Chmod(dir, 0o755)
	os.Chmod(filepath.Dir(dir), 0o755)
	for _, prog := range []string{"sh", "cat", "id", "rm", "stat", "mkdir", "chmod"} {
		from, err := exec.LookPath(prog)
		if err != nil {
			t.Fatal(err)
		}
		files := []string{from}
		libs, _ := exec.Command("ldd", from).Output()
		for f := range strings.FieldsSeq(string(libs)) {
			if filepath.IsAbs(f) {
				files = append(files, f)
			}
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			to := filepath.Join(dir, f)
			if f == from {
				to = filepath.Join(dir, "bin", prog)
			}
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, data, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, data := range map[string]string{"etc/own": "of the image\n", "data/removed": "x", "secret": "s"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 { // an image has files of several users
		if err := os.Chown(filepath.Join(dir, "secret"), 33, 33); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRootfs(t *testing.T) {
	dir := makeRootfs(t)
	out, res := run(t, sandbox.Spec{Local: sandbox.Local{Rootfs: dir}}, `
id -u
cat /etc/own
echo changed > /etc/own
rm /data/removed
mkdir /new
cat /secret; echo
echo mine >> /secret
stat -c %u /secret /etc/own /bin/sh
[ ! -e /usr/bin/python3 ]
echo w > file; echo t > /tmp/t; cat file /tmp/t
`)
	if want := "0\nof the image\ns\n0\n0\n0\nw\nt\n"; out != want || res.Exit != 0 {
		t.Errorf("%+v, stdout %q, want %q", res, out, want)
	}
	for name, want := range map[string]string{"etc/own": "of the image\n", "data/removed": "x", "secret": "s"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
			t.Errorf("%s of the folder: %q, %v", name, b, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
		t.Error("a folder that was made in the sandbox is in the rootfs")
	}
}

func TestRootfsAsOrdinaryUser(t *testing.T) { asOrdinaryUser(t, "TestRootfs") }

func TestMounts(t *testing.T) {
	dir := t.TempDir()
	os.Chmod(filepath.Dir(dir), 0o755)
	os.Chmod(dir, 0o700)
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("host\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, res := run(t, sandbox.Spec{Local: sandbox.Local{Mounts: []sandbox.Mount{
		{Source: dir, Target: "/data/rw", Writable: true},
		{Source: dir, Target: "/workspace/in/ro"},
		{Source: filepath.Join(dir, "f"), Target: "/data/file"},
	}}}, `
cat /data/rw/f /workspace/in/ro/f /data/file
echo new > /data/rw/g
! echo no > in/ro/h
! echo no > /data/file
echo ok > in/mine
`)
	if want := "host\nhost\nhost\n"; out != want || res.Exit != 0 {
		t.Errorf("%+v, stdout %q, want %q", res, out, want)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "g")); err != nil || string(b) != "new\n" {
		t.Errorf("what the sandbox wrote: %q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "h")); err == nil {
		t.Error("a read-only mount was written to")
	}
}

// What is sent is the sandbox's user's, as what a command writes is: in a workspace that nobody has used, in one that
// somebody has, and below a writable mount, where it is the host's owner's on the host.
func TestSentFilesAreTheUsers(t *testing.T) {
	ctx := context.Background()
	p := open(t, sandbox.Run{ID: runID(t), Dir: t.TempDir()})
	defer func() {
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range []string{"plain", "folder/below/file"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o640, Size: 1, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name        string
		used, mount bool
	}{{"unused", false, false}, {"used", true, false}, {"mount", false, true}} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			var spec sandbox.Spec
			if tc.mount {
				spec.Local.Mounts = []sandbox.Mount{{Source: dir, Target: sandbox.Workspace + "/folder", Writable: true}}
			}
			sb, err := p.Acquire(ctx, spec)
			if err != nil {
				t.Fatal(err)
			}
			shell := func(script string) string {
				var out bytes.Buffer
				if _, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"sh", "-c", script}}, &out, &out); err != nil {
					t.Fatal(err)
				}
				return out.String()
			}
			if tc.used {
				shell("true")
			}
			for range 2 { // the second time over the first
				if err := sb.Send(ctx, ".", bytes.NewReader(b.Bytes())); err != nil {
					t.Fatal(err)
				}
			}
			if tc.mount {
				info, err := os.Stat(dir + "/below/file")
				if err != nil || owner(info) != os.Geteuid() || info.Mode().Perm() != 0o640 {
					t.Errorf("on the host: %+v, %v", info, err)
				}
			}
			got := shell(`u=$(id -u); stat -c '%u %a' plain folder/below folder/below/file | sed "s/^$u /mine /"; cat plain folder/below/file; echo more >> plain`)
			if want := "mine 640\nmine 755\nmine 640\nxx"; got != want {
				t.Errorf("in the sandbox: %q", got)
			}
		})
	}
}

func TestSentFilesAreTheUsersAsOrdinaryUser(t *testing.T) {
	asOrdinaryUser(t, "TestSentFilesAreTheUsers")
}

func TestMountsAsOrdinaryUser(t *testing.T) { asOrdinaryUser(t, "TestMounts") }

// A mount is not led astray by a link of the rootfs folder: it is refused by name.
func TestMountBelowLink(t *testing.T) {
	dir := t.TempDir()
	os.Chmod(filepath.Dir(dir), 0o755)
	os.Chmod(dir, 0o755)
	if err := os.Symlink("/elsewhere", filepath.Join(dir, "mnt")); err != nil {
		t.Fatal(err)
	}
	p := open(t, sandbox.Run{ID: "below-link", Dir: t.TempDir()})
	defer p.Close(t.Context())
	_, err := p.Acquire(t.Context(), sandbox.Spec{Local: sandbox.Local{Rootfs: dir, Mounts: []sandbox.Mount{{Source: "/usr/share", Target: "/mnt/x"}}}})
	if sandbox.KindOf(err) != sandbox.KindUnsupported || !strings.Contains(err.Error(), "/mnt is a symbolic link in the rootfs folder") {
		t.Errorf("error %v", err)
	}
}
