package sandboxtest

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

var sendChecks = []check{
	{"files, directories and missing parents", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.send("a/b", entry{name: "f", content: "one"}, entry{name: "d/", kind: tar.TypeDir}, entry{name: "x/y/z", content: "two"}, entry{name: "empty"})
		b.prints("cat a/b/f a/b/x/y/z a/b/empty; ls a/b/d", "onetwo")
	}},
	{"into absolute directories", func(t *testing.T, s *suite) {
		b := s.box(t)
		tmp := b.ok(`printf %s "$TMPDIR"`)
		b.send(tmp+"/new/dir", entry{name: "f", content: "tmp"})
		b.send(b.workspace(), entry{name: "g", content: "workspace"})
		b.send("", entry{name: "h", content: "empty"})
		b.send(".", entry{name: "i", content: "dot"})
		b.prints(`cat "$TMPDIR/new/dir/f" g h i`, "tmpworkspaceemptydot")
	}},
	{"empty stream makes the directory", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.send("made/deep")
		b.ok("[ -d made/deep ]")
	}},
	{"modes", func(t *testing.T, s *suite) {
		b := s.box(t)
		modes := map[string]int64{"0755": 0o755, "0400": 0o400, "0600": 0o600, "0644": 0o644, "0777": 0o777, "0500": 0o500}
		for name, mode := range modes {
			b.send("", entry{name: name, mode: mode, content: "x"}, entry{name: "d" + name, kind: tar.TypeDir, mode: mode | 0o500})
		}
		for name, mode := range modes {
			if got, want := b.ok("stat -c %a "+name), strings.TrimLeft(name, "0")+"\n"; got != want {
				t.Errorf("mode of %s is %s", name, got)
			}
			if got := b.receive(name); len(got) != 1 || got[0].mode&0o777 != mode {
				t.Errorf("received %+v, want mode %o", got, mode)
			}
		}
	}},
	{"a directory without write permission takes its content", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.send("", entry{name: "ro/", kind: tar.TypeDir, mode: 0o555}, entry{name: "ro/f", content: "in"})
		b.prints("cat ro/f; stat -c %a ro", "in555\n")
		b.ok("chmod 755 ro")
	}},
	{"sent programs run", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.send("bin", entry{name: "tool", mode: 0o755, content: "#!/bin/sh\necho ran $1\n"})
		b.prints("bin/tool x", "ran x\n")
		if got := b.succeed(sandbox.Command{Argv: []string{"bin/tool", "y"}}); got != "ran y\n" {
			t.Errorf("printed %q", got)
		}
	}},
	{"sent files belong to the sandbox", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.send("own", entry{name: "f", mode: 0o644, content: "1"}, entry{name: "d/", kind: tar.TypeDir})
		b.prints("echo 2 > own/f; echo 3 > own/d/g; rm own/f; mv own/d own/e; cat own/e/g; rm -r own; ls", "3\n")
	}},
	{"odd names", func(t *testing.T, s *suite) {
		b := s.box(t)
		var sent []entry
		for _, name := range oddNames {
			sent = append(sent, entry{name: name, content: "content of " + name})
		}
		b.send("odd", sent...)
		for _, e := range sent {
			if got := b.succeed(sandbox.Command{Argv: []string{"cat", "./" + e.name}, Dir: "odd"}); got != e.content {
				t.Errorf("%q: content is %q", e.name, got)
			}
		}
		got := b.receive("odd/*")
		if len(got) != len(sent) {
			t.Errorf("%d of %d files came back: %q", len(got), len(sent), names(got))
		}
		for _, e := range got {
			if name := strings.TrimPrefix(e.name, "odd/"); e.content != "content of "+name {
				t.Errorf("%q came back with content %q", name, e.content)
			}
		}
	}},
	{"deep directories", func(t *testing.T, s *suite) {
		b := s.box(t)
		deep := strings.Repeat("directory/", 120)
		b.send("", entry{name: deep + "f", content: "bottom"})
		if got := b.receive(deep + "f"); len(got) != 1 || got[0].name != deep+"f" || got[0].content != "bottom" {
			t.Errorf("%d entries came back", len(got))
		}
	}},
	{"symlinks are kept", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.send("", entry{name: "file", content: "x"}, entry{name: "good", kind: tar.TypeSymlink, link: "file"},
			entry{name: "dangling", kind: tar.TypeSymlink, link: "no/where"}, entry{name: "outside", kind: tar.TypeSymlink, link: "/etc/passwd"},
			entry{name: "up", kind: tar.TypeSymlink, link: "../../.."})
		b.prints("readlink good; readlink dangling; readlink outside; readlink up; cat good", "file\nno/where\n/etc/passwd\n../../..\nx")
	}},
	{"hard links", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.send("dir", entry{name: "a", content: "1"}, entry{name: "sub/b", kind: tar.TypeLink, link: "a"})
		b.prints("echo 2 > dir/a; cat dir/sub/b; stat -c %h dir/a", "2\n2\n")
	}},
	{"existing files are replaced", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok("mkdir d; echo longer than the new > d/f; chmod 400 d/f; echo keep > d/g; ln -s g d/l; ln d/g d/h; mkdir d/sub")
		b.send("d", entry{name: "f", mode: 0o644, content: "new"}, entry{name: "l", content: "file"}, entry{name: "h", content: "other"}, entry{name: "sub/", kind: tar.TypeDir})
		b.prints("cat d/f d/l d/h d/g; [ ! -h d/l ] && ls d/sub", "newfileotherkeep\n")
	}},
	{"a program that runs is replaced", func(t *testing.T, s *suite) {
		b := s.box(t)
		tool := func(says string) entry {
			return entry{name: "tool", content: "#!/bin/sh\necho up\nwhile [ ! -e go ]; do sleep 0.02; done\necho " + says + "\n"}
		}
		b.send("", tool("old"))
		run := b.start(b.ctx, sandbox.Command{Argv: []string{"./tool"}})
		run.await("up")
		b.send("", tool("new"))
		b.ok(": > go")
		if _, err := run.wait(); err != nil || run.out.String() != "up\nold\n" {
			t.Errorf("stdout %q, error %v, want what it was started as", run.out, err)
		}
		b.prints("./tool", "up\nnew\n")
	}},
	{"a directory where a file is, and a file where a directory is", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok("echo x > file; mkdir dir; echo y > dir/f")
		for name, e := range map[string]entry{"directory over a file": {name: "file/", kind: tar.TypeDir}, "path through a file": {name: "file/below", content: "z"},
			"file over a directory": {name: "dir", content: "z"}} {
			wantKind(t, name, b.Send(b.ctx, "", bytes.NewReader(pack(t, e))), sandbox.KindInvalid)
		}
		wantKind(t, "into a file", b.Send(b.ctx, "file", bytes.NewReader(pack(t, entry{name: "f"}))), sandbox.KindInvalid)
		b.prints("cat file dir/f", "x\ny\n")
	}},
	{"streams that are no tar", func(t *testing.T, s *suite) {
		b := s.box(t)
		whole := pack(t, entry{name: "f", content: strings.Repeat("x", 5000)})
		for name, stream := range map[string][]byte{"text": []byte(strings.Repeat("this is no tar\n", 100)), "cut in a header": whole[:700], "cut in a file": whole[:3000]} {
			wantKind(t, name, b.Send(b.ctx, "", bytes.NewReader(stream)), sandbox.KindInvalid)
		}
		b.usable()
	}},
	{"a stream that fails", func(t *testing.T, s *suite) {
		b, broken := s.box(t), errors.New("the reader is broken")
		whole := pack(t, entry{name: "f", content: strings.Repeat("x", 5000)})
		err := b.Send(b.ctx, "", io.MultiReader(bytes.NewReader(whole[:3000]), failing{broken}))
		if !errors.Is(err, broken) {
			t.Errorf("error %v, want the reader's", err)
		}
		b.usable()
	}},
	{"entries that cannot be sent", func(t *testing.T, s *suite) {
		b := s.box(t)
		for name, kind := range map[string]byte{"FIFO": tar.TypeFifo, "character device": tar.TypeChar, "block device": tar.TypeBlock} {
			wantKind(t, name, b.Send(b.ctx, "", bytes.NewReader(pack(t, entry{name: "f", kind: kind}))), sandbox.KindInvalid)
		}
		b.prints("ls", "")
	}},
	{"nothing leads out of the sandbox", func(t *testing.T, s *suite) {
		host := t.TempDir()
		if err := os.Chmod(host, 0o777); err != nil {
			t.Fatal(err)
		}
		up := strings.Repeat("../", 40) + strings.TrimPrefix(host, "/")
		for name, entries := range map[string][]entry{
			"symlink of the stream":       {{name: "l", kind: tar.TypeSymlink, link: host}, {name: "l/f", content: "x"}},
			"relative symlink":            {{name: "l", kind: tar.TypeSymlink, link: up}, {name: "l/f", content: "x"}},
			"symlink in the file's place": {{name: "l", kind: tar.TypeSymlink, link: host + "/f"}, {name: "l", content: "x"}},
			"dots":                        {{name: up + "/f", content: "x"}},
			"absolute name":               {{name: host + "/f", content: "x"}},
			"hard link out":               {{name: "l", kind: tar.TypeLink, link: "/etc/hostname"}},
		} {
			b := s.box(t)
			if err := b.Send(b.ctx, "", bytes.NewReader(pack(t, entries...))); err != nil && sandbox.KindOf(err) != sandbox.KindInvalid {
				t.Errorf("%s: error %v of kind %v, want none or %v", name, err, sandbox.KindOf(err), sandbox.KindInvalid)
			}
			wantEmpty(t, name, host)
		}
		b := s.box(t)
		b.succeed(sandbox.Command{Argv: []string{"ln", "-s", host, "planted"}})
		if err := b.Send(b.ctx, "planted", bytes.NewReader(pack(t, entry{name: "f", content: "x"}))); err != nil && sandbox.KindOf(err) == sandbox.KindInternal {
			t.Errorf("into a symlink of the sandbox: %v", err)
		}
		wantEmpty(t, "symlink of the sandbox", host)
	}},
}

// oddNames are names of one part that a file system takes.
var oddNames = []string{"with space", "new\nline", "-rf", "--help", "ünïcödé ☃", "quote'\"", "back\\slash", "star*", "what?", "[a]", "{b,c}", "$HOME", ".hidden",
	"...", "~", "#", "%41", "tab\t", "esc\x1b[31m", "\xff\xfe not utf-8", "trailing ", strings.Repeat("n", 255), strings.Repeat("é", 127)}

func wantEmpty(t *testing.T, what, dir string) {
	t.Helper()
	if found, err := filepath.Glob(dir + "/*"); err != nil || len(found) > 0 {
		t.Errorf("%s: the host has %q, %v", what, found, err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
