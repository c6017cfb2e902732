package executor_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/internal/check"
	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest/fake"
)

func TestStaging(t *testing.T) {
	files := []string{
		"tree/a.txt", "a", "tree/sub/b.txt", "b", "tree/run.sh", "echo ran\n", "data/x/1.in", "1", "data/y/2.in", "2", "data/y/2.out", "no",
		"big", strings.Repeat("0123456789abcdef", 1<<17), // 2 MiB: it streams
	}
	tests := []struct{ name, files, script, out string }{
		{"a folder keeps its name", "{src: tree}", "cat tree/a.txt tree/sub/b.txt", "ab"},
		{"a folder's content lands in dst", "{src: tree, dst: .}", "cat a.txt sub/b.txt", "ab"},
		{"a file into a folder", "{src: tree/a.txt, dst: in/}", "cat in/a.txt", "a"},
		{"a file under another name", "{src: tree/a.txt, dst: c.txt}", "cat c.txt", "a"},
		{"a glob keeps the path after its fixed part", "{src: 'data/**/*.in', dst: in}", "cat in/x/1.in in/y/2.in; test ! -e in/y/2.out", "12"},
		{"a glob without dst", "{src: 'data/*/*.in'}", "cat x/1.in y/2.in", "12"},
		{"modes are kept", "{src: tree, dst: .}", "test -x run.sh; test ! -x a.txt", ""},
		{"a mode", "{src: tree/a.txt, mode: '0755'}", "test -x a.txt", ""},
		{"a mode of the case", "{src: tree/a.txt, mode: '${{ case.mode }}'}", "test -x a.txt", ""},
		{"content", "{content: 'case ${{ case.n }}', dst: deep/down/c}", "cat deep/down/c", "case 7"},
		{"an absolute dst", "{content: x, dst: /tmp/abs}", "cat /tmp/abs", "x"},
		{"a folder by a link to it", "{src: tolink}", "cat tolink/a.txt tolink/sub/b.txt; readlink tolink/link; test ! -h tolink", "aba.txt"},
		{"links stay links", "{src: tree, dst: .}", "readlink link", "a.txt"},
		{"optional", "{src: '*.none', optional: true}", "ls", ""},
		{"optional by the case", "{src: '*.none', optional: '${{ case.n > 6 }}'}", "ls", ""},
		{"a large file", "{src: big}", "wc -c < big", "2097152"},
		{"a name of the case", "{src: 'data/${{ case.dir }}/2.in', dst: in}", "cat in", "2"},
	}
	for _, tt := range tests {
		for _, level := range []string{"recipe", "step"} {
			t.Run(tt.name+" of the "+level, func(t *testing.T) {
				b := newBench(t, files...)
				if err := os.Chmod(filepath.Join(b.dir, "tree/run.sh"), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink("a.txt", filepath.Join(b.dir, "tree/link")); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink("tree", filepath.Join(b.dir, "tolink")); err != nil {
					t.Fatal(err)
				}
				recipe := "cases: {list: [{id: c, n: 7, dir: y, mode: '0755'}]}\n"
				if level == "recipe" {
					recipe += "files: [" + tt.files + "]\nsteps:\n- {name: s, run: '" + tt.script + "'}"
				} else {
					recipe += "steps:\n- {name: s, files: [" + tt.files + "], run: '" + tt.script + "'}"
				}
				s := b.run(recipe).sample()
				if s.Verdict != event.Passed {
					t.Fatalf("%s: %s", outcome(s), s.Message)
				}
				if got := strings.TrimSpace(b.step("s").Stdout.Head); got != tt.out {
					t.Errorf("%q, want %q", got, tt.out)
				}
			})
		}
	}
}

// What is the same for every case is read once: a mode of the case is not.
func TestFilesOfEachCase(t *testing.T) {
	for _, files := range []string{
		"{src: f, mode: '${{ case.mode }}'}",
		"{src: f, mode: '${{ case.mode }}'}, {src: 'none*', optional: '${{ case.mode != \"\" }}'}",
	} {
		b := newBench(t, "f", "x")
		b.run("cases: {list: [{id: a, mode: '0600'}, {id: b, mode: '0640'}]}\nfiles: [" + files + "]\n" +
			"steps: [{name: s, run: stat -c 0%a f, expect: {stdout: '${{ case.mode }}'}}]")
		for id, s := range b.samples() {
			if s.Verdict != event.Passed {
				t.Errorf("%s of %s: %s: %s", id, files, outcome(s), s.Message)
			}
		}
	}
}

func TestMissingFiles(t *testing.T) {
	for _, recipe := range []string{
		"files: [{src: '${{ case.f }}'}]\nsteps: [{name: s, run: 'true'}]",
		"steps: [{name: s, files: [{src: '${{ case.f }}'}], run: 'true'}]",
		"steps: [{name: s, files: [{src: '${{ case.f }}*'}], run: 'true'}]",
		"steps: [{name: s, files: [{src: '${{ case.f }}', optional: '${{ case.f == 7 }}'}], run: 'true'}]",
		"steps: [{name: s, stdin: {file: '${{ case.f }}'}, run: 'true'}]",
	} {
		b := newBench(t)
		b.opts.InfraRetries = 2
		s := b.run("cases: {list: [{id: c, f: nowhere}]}\n" + recipe).sample()
		if outcome(s) != "error/stage" || !strings.Contains(s.Message, "nowhere") || s.Tries != 0 {
			t.Errorf("%s: %s", outcome(s), s.Message)
		}
	}
}

// A step that is tried again finds the sandbox as the try before left it.
func TestFilesAreStagedOncePerStep(t *testing.T) {
	b := newBench(t)
	s := b.run("steps: [{name: s, files: [{content: '1', dst: f}], run: 'test $(cat f) = 2 || { echo 2 > f; exit 1; }', retry: {attempts: 2}}]").sample()
	if s.Verdict != event.Passed || !s.Flaky {
		t.Errorf("%s: %s", outcome(s), s.Message)
	}
}

func TestLogs(t *testing.T) {
	b := newBench(t)
	b.run(`
cases: {list: [{id: a/b}]}
steps:
	- {name: same, run: echo 1}
	- {name: same, run: echo 2}
	- {name: again, run: 'echo try >&2; test -e x || { touch x; exit 1; }', retry: {attempts: 2}}
	- {name: silent, run: 'true'}
`)
	want := []string{
		"logs/demo/a%2Fb/1/again.2.stderr=try\n", "logs/demo/a%2Fb/1/again.stderr=try\n",
		"logs/demo/a%2Fb/1/same.stdout=1\n", "logs/demo/a%2Fb/1/same~2.stdout=2\n",
	}
	if got := tree(t, b.opts.Dir); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestGoldenUpdate(t *testing.T) {
	b := newBench(t, "golden/out.txt", "old\n")
	b.opts.Update = check.NewUpdates(t.TempDir())
	s := b.run("steps: [{name: a, run: echo new, expect: {stdout: {golden: golden/out.txt}}}, {name: b, run: echo bad; exit 1, expect: {stdout: {golden: golden/bad.txt}}}]").sample()
	if verdicts(s) != "a=passed b=failed/exit_code" {
		t.Errorf("%s: %s", verdicts(s), s.Message)
	}
	if written, err := b.opts.Update.Write(); err != nil || len(written) != 1 {
		t.Errorf("wrote %q, %v", written, err)
	}
	if got := tree(t, b.dir); !slices.Equal(got, []string{"golden/out.txt=new\n"}) {
		t.Errorf("%q", got)
	}
}

// The port is looked for in the sandbox's own table of sockets.
func TestReadyPort(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t)
		b.programs = programsWith("cat", func(_ context.Context, p *fake.Process) int {
			if len(p.Args) != 3 || p.Args[1] != "/proc/net/tcp" {
				return 1
			}
			p.Printf("  sl  local_address rem_address   st\n")
			if _, err := p.Sandbox.ReadFile("listening"); err == nil {
				p.Printf("   0: 00000000:1F90 00000000:0000 0A 0 0 0 0 0 1\n")
			}
			return 1 // there is no tcp6
		})
		s := b.run("vars: {port: 8080}\nsteps: [{name: server, background: true, run: sleep 5; touch listening; sleep 1000, ready: {port: '${{ vars.port }}'}}, {name: c, run: test -e listening}]").sample()
		if s.Verdict != event.Passed || s.Duration < 5 || s.Duration > 6 {
			t.Errorf("%s: %s after %v s", outcome(s), s.Message, s.Duration)
		}
		s = newPort(t).run("steps: [{name: server, background: true, argv: [hang], ready: {port: 8081}}]").sample()
		if outcome(s) != "failed/timeout" || !strings.Contains(s.Message, "port 8081") {
			t.Errorf("%s: %s", outcome(s), s.Message)
		}
	})
}

func newPort(t *testing.T) *bench {
	b := newBench(t)
	b.programs = programsWith("cat", func(_ context.Context, p *fake.Process) int { return 1 })
	return b
}
