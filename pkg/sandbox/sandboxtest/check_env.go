package sandboxtest

import (
	"maps"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

var envChecks = []check{
	{"base environment", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.prints(`echo "$LANG $TZ"`, "C.UTF-8 UTC\n")
		b.prints(`[ "$HOME" = "$SBXRUN_WORKSPACE" ] && [ "$PWD" = "$HOME" ] && echo same`, "same\n")
		b.prints(`case $SBXRUN_WORKSPACE:$TMPDIR in /*:/*) echo absolute;; esac`, "absolute\n")
		b.prints(`: > "$TMPDIR/t" && : > "$HOME/h" && command -v sh > /dev/null && echo fit`, "fit\n")
	}},
	{"workspace is empty, writable and where commands start", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.prints("ls -A", "")
		b.prints(`pwd`, b.workspace()+"\n")
		b.ok("echo x > f; mkdir d; echo y > d/f")
		b.prints("cat f d/f", "x\ny\n")
	}},
	{"own variables win over the base", func(t *testing.T, s *suite) {
		got := s.box(t).succeed(sandbox.Command{Argv: []string{"sh", "-c", `echo "$HOME $TZ $MINE"`},
			Env: map[string]string{"HOME": "/elsewhere", "TZ": "Asia/Tokyo", "MINE": "1"}})
		if got != "/elsewhere Asia/Tokyo 1\n" {
			t.Errorf("printed %q", got)
		}
	}},
	{"odd values", func(t *testing.T, s *suite) {
		b := s.box(t)
		values := maps.Clone(oddities)
		values["100 KB"] = strings.Repeat("v", 100_000)
		for name, value := range values {
			got := b.succeed(sandbox.Command{Argv: []string{"sh", "-c", `printf %s. "$V"`}, Env: map[string]string{"V": value}})
			if got != value+"." {
				t.Errorf("%s: %q arrived as %q", name, tail(value), tail(got))
			}
		}
	}},
	{"an empty value is set", func(t *testing.T, s *suite) {
		got := s.box(t).succeed(sandbox.Command{Argv: []string{"sh", "-c", `echo "${V-unset}.${W-unset}"`}, Env: map[string]string{"V": ""}})
		if got != ".unset\n" {
			t.Errorf("printed %q", got)
		}
	}},
	{"names that a shell has no use for", func(t *testing.T, s *suite) {
		got := s.box(t).succeed(sandbox.Command{Argv: []string{"env"}, Env: map[string]string{"a.b": "dot", "lower": "case", "1": "digit"}})
		for _, want := range []string{"a.b=dot", "lower=case", "1=digit"} {
			if !strings.Contains("\n"+got, "\n"+want+"\n") {
				t.Errorf("env does not have %s", want)
			}
		}
	}},
	{"each variable once", func(t *testing.T, s *suite) {
		seen := map[string]bool{}
		for line := range strings.Lines(s.box(t).succeed(sandbox.Command{Argv: []string{"env"}, Env: map[string]string{"HOME": "/x", "PATH": "/usr/bin:/bin"}})) {
			name, _, _ := strings.Cut(line, "=")
			if seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
		}
	}},
	{"nothing of the host's", func(t *testing.T, s *suite) {
		b := s.box(t)
		got := b.succeed(sandbox.Command{Argv: []string{"env"}}) + b.ok("cat /proc/[0-9]*/environ 2>/dev/null || true")
		if strings.Contains(got, canary) || strings.Contains(got, canaryValue) {
			t.Error("a variable of the host's environment is visible in the sandbox")
		}
	}},
	{"variables do not stay", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.succeed(sandbox.Command{Argv: []string{"true"}, Env: map[string]string{"V": "1"}})
		b.prints(`echo "${V-unset}"`, "unset\n")
	}},
	{"working directory relative and absolute", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok("mkdir -p sub/deep 'odd name' && ln -s sub link")
		ws := b.workspace()
		for dir, want := range map[string]string{"": ws, ".": ws, "sub": ws + "/sub", "sub/deep/": ws + "/sub/deep", "sub/../sub": ws + "/sub",
			"odd name": ws + "/odd name", "/": "/", ws + "/sub": ws + "/sub", "link": ws + "/sub"} {
			if got := b.succeed(sandbox.Command{Argv: []string{"sh", "-c", "pwd -P"}, Dir: dir}); got != want+"\n" {
				t.Errorf("in directory %q pwd is %q, want %q", dir, got, want)
			}
		}
	}},
	{"relative program in a working directory", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok("mkdir sub; printf '#!/bin/sh\\necho ran\\n' > sub/tool; chmod 755 sub/tool")
		if got := b.succeed(sandbox.Command{Argv: []string{"./tool"}, Dir: "sub"}); got != "ran\n" {
			t.Errorf("printed %q", got)
		}
	}},
	{"working directory that is missing or a file", func(t *testing.T, s *suite) {
		b := s.box(t)
		b.ok("echo x > file")
		for dir, want := range map[string]sandbox.Kind{"none": sandbox.KindNotFound, "/none/below": sandbox.KindNotFound, "file": sandbox.KindInvalid, "file/below": sandbox.KindInvalid} {
			_, err := b.Exec(b.ctx, sandbox.Command{Argv: []string{"true"}, Dir: dir}, nil, nil)
			wantKind(t, dir, err, want)
		}
		b.usable()
	}},
}
