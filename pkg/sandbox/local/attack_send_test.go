package local

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// tarOf returns a tar of entries, of which files hold their own name.
func tarOf(t *testing.T, entries ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		h.Mode = 0o644
		content := ""
		if h.Typeflag == tar.TypeReg {
			content = h.Name
		}
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// Nothing is made outside of the sandbox by a file whose path leads through a symlink that came before it, in the same tar
// or an earlier one, before a command has run and after.
func TestAttackSentLink(t *testing.T) {
	ctx := context.Background()
	host := t.TempDir()
	if err := os.Chmod(host, 0o777); err != nil {
		t.Fatal(err)
	}
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
	link := func(target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: "link", Linkname: target}
	}
	var many []tar.Header // so many that what follows is sent apart
	for i := range batchEntries - 1 {
		many = append(many, file(fmt.Sprintf("many/%d", i)))
	}
	for _, tt := range []struct {
		name string
		tars [][]tar.Header
	}{
		{"an earlier tar", [][]tar.Header{{link(host)}, {file("link/made/file")}}},
		{"the same tar", [][]tar.Header{append(append([]tar.Header{link(host)}, many...), file("link/made/file"))}},
		{"out of the workspace", [][]tar.Header{{link("../tmp")}, {file("link/made/file")}}},
		{"directly", [][]tar.Header{{link(host)}, {file("link/file")}}},
	} {
		for _, used := range []bool{false, true} {
			sb := acquire(t, sandbox.Spec{})
			if used {
				if _, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"true"}}, nil, nil); err != nil {
					t.Fatal(err)
				}
			}
			var err error
			for _, entries := range tt.tars {
				if err != nil {
					t.Fatalf("%s: the link: %v", tt.name, err)
				}
				err = sb.Send(ctx, ".", tarOf(t, entries...))
			}
			if sandbox.KindOf(err) != sandbox.KindInvalid {
				t.Errorf("%s, used %t: %v", tt.name, used, err)
			}
			if made, err := os.ReadDir(host); err != nil || len(made) > 0 {
				t.Fatalf("%s, used %t: on the host are %v, %v", tt.name, used, made, err)
			}
			if used {
				continue // what the sandbox may do itself it may do
			}
			res, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"test", "!", "-e", "/tmp/made"}}, nil, nil)
			if err != nil || res.Exit != 0 {
				t.Errorf("%s: something was made in /tmp: %+v, %v", tt.name, res, err)
			}
		}
	}
}

func TestAttacksOnTransfersAsOrdinaryUser(t *testing.T) {
	asOrdinaryUser(t, "TestAttack(SentLink|SmallFiles|ExecDuringRelease|ClosedFolders)")
}

// Files count as memory of the sandbox, however small they are.
func TestAttackSmallFiles(t *testing.T) {
	ctx := context.Background()
	sb := acquire(t, sandbox.Spec{Limits: sandbox.Limits{Memory: 16 << 20, Disk: 16 << 20}})
	if !sb.(*Sandbox).p.cgroups.Enforces("memory") {
		if os.Getuid() == 0 && os.Getenv("SBXRUN_REQUIRE_CGROUPS") != "" {
			t.Fatal("control groups are required here, and memory is not enforced by any")
		}
		t.Skip("files are not charged without control groups")
	}
	var files []tar.Header // with a page each
	for i := range 3600 {
		files = append(files, tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprint(i)})
	}
	if err := sb.Send(ctx, ".", tarOf(t, files...)); err != nil {
		t.Fatal(err)
	}
	res, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"/usr/bin/python3", "-c", "b = bytearray(20 << 20)"}}, nil, nil)
	if err != nil || res.Limit != sandbox.LimitOOM {
		t.Errorf("%+v, %v: 34 MiB of 32", res, err)
	}
}

// What the sandbox's user may not reach any more, by its own doing, is received all the same.
func TestAttackClosedFolders(t *testing.T) {
	sb := acquire(t, sandbox.Spec{})
	const script = `mkdir -p out/d/e; echo x > out/d/e/f; ln -s f out/d/e/l; chmod 0 out/d/e/f out/d/e out/d out .`
	if res, err := sb.Exec(t.Context(), sandbox.Command{Argv: []string{"sh", "-ec", script}}, nil, nil); err != nil || res.Exit != 0 {
		t.Fatal(res, err)
	}
	for _, globs := range [][]string{{"out/**"}, {"/workspace/out/**"}, {"out"}, {"out/d/e/f", "out/d/e/l"}} {
		r, err := sb.Receive(t.Context(), globs)
		if err != nil {
			t.Fatal(globs, err)
		}
		var names []string
		in := tar.NewReader(r)
		for h, err := in.Next(); err != io.EOF; h, err = in.Next() {
			if err != nil {
				t.Fatal(globs, err)
			}
			names = append(names, h.Name)
		}
		r.Close()
		if text := strings.Join(names, " "); !strings.Contains(text, "out/d/e/f") || !strings.Contains(text, "out/d/e/l") {
			t.Errorf("%q: %s", globs, text)
		}
	}
}
