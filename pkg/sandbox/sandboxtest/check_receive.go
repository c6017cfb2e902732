package sandboxtest

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

const tree = `mkdir -p out/a out/b/c "odd name"
echo 1 > out/1.json; echo 2 > out/a/2.json; echo 3 > out/b/c/3.json; echo t > out/a/t.txt; echo h > out/.hidden; echo s > 'odd name/s'; echo r > root.txt`

var receiveChecks = []check{
	{"globs", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok(tree)
		for _, c := range []struct{ glob, want string }{
			{"root.txt", "root.txt"},
			{"*.txt", "root.txt"},
			{"./root.txt", "root.txt"},
			{"out/*.json", "out/1.json"},
			{"out/**/*.json", "out/1.json out/a/2.json out/b/c/3.json"},
			{"**/*.{txt,json}", "out/1.json out/a/2.json out/a/t.txt out/b/c/3.json root.txt"},
			{"out/?.json", "out/1.json"},
			{"out/[ab]/*", "out/a/2.json out/a/t.txt out/b/c out/b/c/3.json"},
			{"out/{a,b}/**/[!2].json", "out/b/c/3.json"},
			{"odd\\ name/s", "odd name/s"},
			{"out/.h*", "out/.hidden"},
		} {
			var want []string
			for name := range strings.FieldsSeq(strings.ReplaceAll(c.want, "odd name", "odd|name")) {
				want = append(want, strings.ReplaceAll(name, "|", " "))
			}
			b.wantNames([]string{c.glob}, want...)
		}
	}},
	{"a name of any bytes, escaped as a glob", func(t *testing.T, s *suite) {
		b := s.box(t)
		for i, name := range oddNames {
			name = "odd dir*/" + name
			b.put(name, fmt.Sprint(i))
			if got := b.get(name); got != fmt.Sprint(i) {
				t.Errorf("%q has %q, want %d", name, got, i)
			}
			if there, err := sandbox.Exists(b.ctx, b, name); !there || err != nil {
				t.Errorf("%q exists: %v, %v", name, there, err)
			}
		}
		if there, err := sandbox.Exists(b.ctx, b, "odd dir*/*"); there || err != nil {
			t.Errorf("a name that only a glob would match exists: %v, %v", there, err)
		}
	}},
	{"a directory comes with its content", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok(tree + "; mkdir out/empty")
		b.wantNames([]string{"out"}, "out", "out/.hidden", "out/1.json", "out/a", "out/a/2.json", "out/a/t.txt", "out/b", "out/b/c", "out/b/c/3.json", "out/empty")
		b.wantNames([]string{"out/b/"}, "out/b", "out/b/c", "out/b/c/3.json")
	}},
	{"no match is an empty stream", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok(tree)
		for _, globs := range [][]string{nil, {"none"}, {"none/**"}, {"root.txt/below"}, {"*.none", "/no/such/*"}, {"ROOT.TXT"}} {
			b.wantNames(globs)
		}
	}},
	{"bad globs", func(t *testing.T, s *suite) {
		b := s.box(t)
		for _, glob := range []string{"[", "out/[a-", "{a,b", "a\\"} {
			wantKind(t, glob, tryReceive(b.ctx, b, "fine", glob), sandbox.KindInvalid)
		}
	}},
	{"absolute globs", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok(tree + `; mkdir "$TMPDIR/x"; echo y > "$TMPDIR/x/y"`)
		tmp, ws := b.ok(`printf %s "$TMPDIR"`), b.workspace()
		b.wantNames([]string{tmp + "/x/*"}, strings.TrimPrefix(tmp, "/")+"/x/y")
		b.wantNames([]string{ws + "/root.*"}, strings.TrimPrefix(ws, "/")+"/root.txt")
		b.wantNames([]string{"root.txt", tmp + "/x/y"}, slices.Sorted(slices.Values([]string{"root.txt", strings.TrimPrefix(tmp, "/") + "/x/y"}))...)
	}},
	{"lexical order, each once", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok("mkdir a b; for f in a/z a-b a.b a0 a/a b/1 B c Z é; do echo $f > $f; done")
		want := []string{"B", "Z", "a", "a-b", "a.b", "a/a", "a/z", "a0", "b", "b/1", "c", "é"}
		b.wantNames([]string{"*"}, want...)
		b.wantNames([]string{"c", "b", "**", "a/z", "a/*", "[A-Z]", "*"}, want...)
	}},
	{"content, sizes and modes", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.put("bytes", allBytes)
		b.ok(": > empty; echo x > x; chmod 755 x; chmod 400 bytes; mkdir -m 750 d")
		for _, e := range b.receive("*") {
			want := map[string]entry{
				"bytes": {"bytes", tar.TypeReg, 0o400, "", allBytes}, "empty": {"empty", tar.TypeReg, 0o644, "", ""},
				"x": {"x", tar.TypeReg, 0o755, "", "x\n"}, "d": {"d", tar.TypeDir, 0o750, "", ""},
			}[e.name]
			if e.mode &= 0o777; e.name != "empty" && e != want || e.content != want.content {
				t.Errorf("received %+v, want %+v", e, want)
			}
		}
	}},
	{"symlinks come as they are", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok("mkdir d; echo x > d/f; ln -s d/f good; ln -s none dangling; ln -s /etc/passwd outside; ln -s ../.. up; ln -s d todir; ln -s loop loop")
		want := map[string]string{"good": "d/f", "dangling": "none", "outside": "/etc/passwd", "up": "../..", "todir": "d", "loop": "loop"}
		for _, e := range b.receive("**") {
			link, is := want[e.name]
			if is && (e.kind != tar.TypeSymlink || e.link != link || e.content != "") || !is && e.name != "d" && e.name != "d/f" {
				t.Errorf("received %+v, want a symlink to %q", e, link)
			}
			delete(want, e.name)
		}
		if len(want) > 0 {
			t.Errorf("%v did not come", want)
		}
		if got := b.receive("good"); len(got) != 1 || got[0].kind != tar.TypeSymlink {
			t.Errorf("by its name the symlink came as %+v", got)
		}
	}},
	{"nothing comes from outside the sandbox", func(t *testing.T, s *suite) {
		host := t.TempDir()
		if err := os.WriteFile(filepath.Join(host, "secret"), []byte("the host's secret"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(host, 0o755); err != nil {
			t.Fatal(err)
		}
		b := s.box(t)
		b.succeed(sandbox.Command{Argv: []string{"sh", "-c", `ln -s "$1" dir; ln -s "$1/secret" file; ln -s ../../../../../../../../../.. up`, "sh", host}})
		for _, globs := range [][]string{{"**"}, {"dir"}, {"dir/secret"}, {"dir/*"}, {"dir/**"}, {"file"}, {"up" + host + "/*"}, {host + "/**"}, {"../../.." + host + "/*"}} {
			r, err := b.Receive(b.ctx, globs)
			if err != nil {
				if sandbox.KindOf(err) != sandbox.KindInvalid {
					t.Errorf("%q: error %v of kind %v", globs, err, sandbox.KindOf(err))
				}
				continue
			}
			entries, err := unpack(r)
			if err != nil {
				t.Errorf("%q: %v", globs, err)
			}
			for _, e := range entries {
				if strings.Contains(e.content, "secret") {
					t.Errorf("%q brought the host's %s", globs, e.name)
				}
			}
		}
	}},
	{"hard links both come", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok("echo shared > a; ln a b")
		content := map[string]string{}
		for _, e := range b.receive("*") {
			if e.kind == tar.TypeLink {
				e.content = content[e.link]
			}
			content[e.name] = e.content
		}
		if content["a"] != "shared\n" || content["b"] != "shared\n" {
			t.Errorf("received %v", content)
		}
		if got := b.receive("b"); len(got) != 1 || got[0].kind != tar.TypeReg || got[0].content != "shared\n" {
			t.Errorf("alone, b came as %+v", got)
		}
	}},
	{"FIFOs come without content, and nothing waits", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok("mkfifo fifo; echo x > file")
		b.wantKinds([]string{"*"}, "fifo", tar.TypeFifo)
		b.wantKinds([]string{"fifo"}, "fifo", tar.TypeFifo)
	}},
	{"devices come without content", func(t *testing.T, s *suite) {
		s.box(t).wantKinds([]string{"/dev/null"}, "dev/null", tar.TypeChar)
	}},
	{"sockets come without content", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok(`$(command -v python3) -c 'import socket; socket.socket(socket.AF_UNIX).bind("sock")'; echo x > file; [ -S sock ]`)
		// A tar has no type for sockets: any will do that is not a regular file's.
		for _, e := range b.receive("*") {
			if e.name == "sock" && (e.kind == tar.TypeReg || e.content != "") {
				t.Errorf("the socket came as %+v", e)
			}
		}
		if got := names(b.receive("*")); got != "file\nsock\n" {
			t.Errorf("received %q", got)
		}
	}},
	{"a file that is being written", func(t *testing.T, s *suite) {
		b := s.box(t)
		run := b.start(b.ctx, sandbox.Command{Argv: []string{"sh", "-c", `echo start > grows; echo up
			while [ ! -e stop ]; do head -c 300000 /dev/zero > swings; head -c 20000 /dev/zero >> grows; : > swings; rm -f comes; mkdir comes; rm -r comes; ln -s x comes; done`}})
		run.await("up")
		for range 10 {
			for _, e := range b.receive("**") { // a tar that is valid to its end is the point
				if e.name == "grows" && e.kind != tar.TypeReg {
					t.Errorf("the file came as %q", e.kind)
				}
			}
		}
		b.ok(": > stop")
		if res, err := run.wait(); err != nil || res.Exit != 0 {
			t.Errorf("the writer: %+v, %v", res, err)
		}
	}},
	{"files that the commands may not read", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok("mkdir d; echo x > d/f; chmod 000 d/f; echo y > g; chmod 200 g")
		if got := names(b.receive("**")); got != "d\nd/f\ng\n" {
			t.Errorf("received %q", got)
		}
	}},
	{"a stream closed early", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok("head -c 3000000 /dev/zero > big")
		for range 10 {
			r, err := b.Receive(b.ctx, []string{"*"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Read(make([]byte, 100)); err != nil {
				t.Error(err)
			}
			if err := r.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		b.usable()
	}},
	{"many files", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok("mkdir many; for i in $(seq 1000 2999); do echo $i > many/$i; done")
		got := b.receive("many/*")
		if len(got) != 2000 || got[0].name != "many/1000" || got[1999].content != "2999\n" {
			t.Errorf("%d files came of 2000", len(got))
		}
	}},
}

// wantKinds checks that name comes as an entry of the kind, without content.
func (b *box) wantKinds(globs []string, name string, kind byte) {
	b.t.Helper()
	for _, e := range b.receive(globs...) {
		if e.name == name {
			if e.kind != kind || e.content != "" {
				b.t.Errorf("%s came as %+v, want type %q", name, e, kind)
			}
			return
		}
	}
	b.t.Errorf("%s did not come with %q", name, globs)
}
