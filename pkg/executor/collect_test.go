package executor_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// hostile is a provider whose sandboxes answer Receive with a tar of the test's.
type hostile struct {
	sandbox.Provider
	stream func() io.Reader
}

func (p hostile) Acquire(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	sb, err := p.Provider.Acquire(ctx, spec)
	return hostileBox{sb, p.stream}, err
}

type hostileBox struct {
	sandbox.Sandbox
	stream func() io.Reader
}

func (b hostileBox) Receive(context.Context, []string) (io.ReadCloser, error) {
	return io.NopCloser(b.stream()), nil
}

// tarOf packs entries; a regular file without content gets its own name.
func tarOf(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			io.WriteString(w, h.Name)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func link(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}
}

func TestHostileArtifacts(t *testing.T) {
	long := strings.Repeat("x", 300)
	tests := []struct {
		name    string
		headers []tar.Header
		want    string
		message string
		tree    []string // of the artifacts
	}{
		{"files and links", []tar.Header{{Name: "out/a"}, {Name: "out/sub", Typeflag: tar.TypeDir}, {Name: "out/sub/b", Mode: 0o4777}, link("out/sub/l", "../a"), link("out/gone", "nothing")}, "passed", "", []string{"out/a=out/a", "out/gone -> nothing", "out/sub/b=out/sub/b", "out/sub/l -> ../a"}},
		{"a name that leads out", []tar.Header{{Name: "../evil"}, {Name: "a"}}, "failed/artifact", "../evil", []string{"a=a"}},
		{"a name that leads out deep inside", []tar.Header{{Name: "d/../../evil"}, {Name: "a"}}, "failed/artifact", "evil", []string{"a=a"}},
		{"an absolute name", []tar.Header{{Name: "/etc/evil"}, {Name: "a"}}, "failed/artifact", "/etc/evil", []string{"a=a"}},
		{"a link out", []tar.Header{link("l", "../../.."), {Name: "a"}}, "failed/artifact", "link out", []string{"a=a"}},
		{"an absolute link", []tar.Header{link("l", "/etc/passwd"), {Name: "a"}}, "failed/artifact", "link out", []string{"a=a"}},
		{"through a link", []tar.Header{link("d", "/tmp"), {Name: "d/evil"}}, "failed/artifact", "link out", []string{"d/evil=d/evil"}},
		{"links that lead out together", []tar.Header{link("s", "."), link("t", "s/s/../../evil"), {Name: "a"}}, "failed/artifact", `"t" is a symbolic link out`, []string{"a=a", "s -> ."}},
		{"links in a circle", []tar.Header{link("p", "q"), link("q", "p"), {Name: "a"}}, "failed/artifact", "circles", []string{"a=a", "q -> p"}},
		{"a hard link", []tar.Header{{Name: "a"}, {Name: "h", Typeflag: tar.TypeLink, Linkname: "/etc/shadow"}}, "failed/artifact", "a hard link", []string{"a=a"}},
		{"a device", []tar.Header{{Name: "a"}, {Name: "dev", Typeflag: tar.TypeBlock, Devmajor: 8}}, "failed/artifact", "a device", []string{"a=a"}},
		{"a FIFO", []tar.Header{{Name: "a"}, {Name: "p", Typeflag: tar.TypeFifo}}, "failed/artifact", "a FIFO", []string{"a=a"}},
		{"twice", []tar.Header{{Name: "a"}, {Name: "a"}, {Name: "./a"}}, "failed/artifact", "comes twice", []string{"a=a"}},
		{"a file and a link of one name", []tar.Header{link("a", "b"), {Name: "a"}}, "failed/artifact", "comes twice", []string{"a=a"}},
		{"below a file", []tar.Header{{Name: "a"}, {Name: "a/b"}}, "failed/artifact", "a/b", []string{"a=a"}},
		{"a name too long for this machine", []tar.Header{{Name: "a"}, {Name: long}}, "failed/artifact", "too long", []string{"a=a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			packed := tarOf(t, tt.headers...)
			b.wrap = func(p sandbox.Provider) sandbox.Provider {
				return hostile{p, func() io.Reader { return bytes.NewReader(packed) }}
			}
			s := b.run("steps: [{name: s, run: 'true'}]\ncollect: [{src: '**'}]\nverify: [{name: v, run: 'true'}]").sample()
			if outcome(s) != tt.want || !strings.Contains(s.Message, tt.message) {
				t.Errorf("%s: %s", outcome(s), s.Message)
			}
			if got := tree(t, filepath.Join(b.opts.Dir, "artifacts/demo/main/1/default")); !slices.Equal(got, tt.tree) {
				t.Errorf("artifacts %q, want %q", got, tt.tree)
			}
			for _, f := range tree(t, b.opts.Dir) {
				if strings.Contains(f, "evil") && !strings.HasPrefix(f, "artifacts/demo/main/1/default/") {
					t.Errorf("wrote %s", f)
				}
			}
			if info, err := os.Stat(filepath.Join(b.opts.Dir, "artifacts/demo/main/1/default/out/sub/b")); err == nil && info.Mode()&^0o755 != 0 {
				t.Errorf("mode %v", info.Mode())
			}
		})
	}
}

// A link is judged as it is written: a secret in its target may have had more folders than what stands in its place.
func TestMaskedLinkOut(t *testing.T) {
	b := newBench(t)
	b.secrets = map[string]string{"S": "ab/cd/ef/gh"}
	packed := tarOf(t, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "ab/cd/ef/gh/../../../../x"}, tar.Header{Name: "a"})
	b.wrap = func(p sandbox.Provider) sandbox.Provider {
		return hostile{p, func() io.Reader { return bytes.NewReader(packed) }}
	}
	s := b.run("secrets: [S]\nsteps: [{name: s, run: 'true'}]\ncollect: [{src: '**'}]").sample()
	if outcome(s) != "failed/artifact" || !strings.Contains(s.Message, "link out") {
		t.Errorf("%s: %s", outcome(s), s.Message)
	}
}

// zeros is an endless file in a tar: what a sparse one looks like.
func zeros(size int64) io.Reader {
	var head bytes.Buffer
	w := tar.NewWriter(&head)
	_ = w.WriteHeader(&tar.Header{Name: "sparse", Typeflag: tar.TypeReg, Mode: 0o644, Size: size, Format: tar.FormatPAX})
	return io.MultiReader(&head, zeroReader{})
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestArtifactsAreBounded(t *testing.T) {
	many := make([]tar.Header, 50)
	for i := range many {
		many[i].Name = strings.Repeat("n", i+1)
	}
	manyTar := tarOf(t, many...)
	tests := []struct {
		name   string
		stream func() io.Reader
		want   string
		files  int
	}{
		{"a sparse file", func() io.Reader { return zeros(1 << 50) }, "failed/disk", 0},
		{"too many files", func() io.Reader { return bytes.NewReader(manyTar) }, "failed/disk", 20},
		{"a stream that breaks off", func() io.Reader { return bytes.NewReader(manyTar[:1100]) }, "error/collect", 1},
		{"no tar", func() io.Reader { return strings.NewReader(strings.Repeat("no tar", 1000)) }, "error/collect", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.wrap = func(p sandbox.Provider) sandbox.Provider { return hostile{p, tt.stream} }
			s := b.run("sandboxes: {box: {limits: {disk: 1Mi, inodes: 20}}}\nsteps: [{name: s, run: 'true'}]\ncollect: [{src: '**'}]").sample()
			if outcome(s) != tt.want {
				t.Errorf("%s: %s", outcome(s), s.Message)
			}
			if got := tree(t, filepath.Join(b.opts.Dir, "artifacts")); len(got) != tt.files {
				t.Errorf("%d files", len(got))
			}
		})
	}
}

func TestCollect(t *testing.T) {
	b := newBench(t)
	s := b.run(`
sandboxes: {one: {}, two: {}}
steps:
	- {name: a, sandbox: one, run: 'mkdir -p out/deep; echo 1 > out/deep/x.json; echo 2 > out/y.txt; chmod 755 out/y.txt'}
	- {name: b, sandbox: two, run: 'echo 3 > result; echo 4 > /tmp/abs'}
collect:
	- {src: 'out/**/*.json', sandbox: one}
	- {src: out/y.txt, sandbox: one}
	- {src: result, sandbox: two}
	- {src: /tmp/abs, sandbox: two}
	- {src: nothing, sandbox: two, optional: true}
verify:
	- {name: v, sandbox: one, run: 'cat out/deep/x.json out/y.txt result tmp/abs; test -x out/y.txt', expect: {stdout: "1\n2\n3\n4"}}
`).sample()
	if s.Verdict != event.Passed || s.Dir != "artifacts/demo/main/1" {
		t.Fatalf("%s: %s, dir %s", outcome(s), s.Message, s.Dir)
	}
	want := []string{"one/out/deep/x.json=1\n", "one/out/y.txt=2\n", "two/result=3\n", "two/tmp/abs=4\n"}
	if got := tree(t, filepath.Join(b.opts.Dir, s.Dir)); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestTwoFilesForOnePath(t *testing.T) {
	recipe := "sandboxes: {one: {}, two: {}}\nsteps: [{name: a, sandbox: one, run: touch x}, {name: b, sandbox: two, run: touch x}]\n" +
		"collect: [{src: x, sandbox: one}, {src: x, sandbox: two}]\n"
	s := newBench(t).run(recipe + "verify: [{name: v, sandbox: one, run: 'true'}]").sample()
	if outcome(s) != "failed/artifact" || !strings.Contains(s.Message, `two sandboxes have "x"`) {
		t.Errorf("%s: %s", outcome(s), s.Message)
	}
	if s := newBench(t).run(recipe).sample(); s.Verdict != event.Passed { // without verify they do not meet
		t.Errorf("%s: %s", outcome(s), s.Message)
	}
}

// One path that lies below another is no less of a conflict, whatever has a name between the two.
func TestAFileAndWhatLiesBelowIt(t *testing.T) {
	for _, made := range []string{"touch x", "mkdir d; ln -s d x"} {
		s := newBench(t).run("sandboxes: {one: {}, two: {}}\nsteps: [{name: a, sandbox: one, run: '" + made + "; touch x-y x.z'}, {name: b, sandbox: two, run: mkdir x; touch x/f}]\n" +
			"collect: [{src: 'x*', sandbox: one}, {src: x/f, sandbox: two}]\nverify: [{name: v, sandbox: one, run: 'true'}]").sample()
		if outcome(s) != "failed/artifact" || !strings.Contains(s.Message, `one sandbox has "x" and another "x/f"`) {
			t.Errorf("%s: %s: %s", made, outcome(s), s.Message)
		}
	}
}
