package sandboxtest

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// oddities are texts that quoting, splitting and encoding get wrong.
var oddities = map[string]string{
	"empty": "", "space": " ", "spaces": "  a  b  ", "newline": "a\nb\n", "carriage return": "a\r\nb", "tab": "a\tb",
	"quotes": `'a' "b"`, "quote": `'`, "backslash": `\n\\`, "dollar": "$HOME ${X} $(id) `id`", "glob": "* ? [a-z]",
	"dash": "-n", "double dash": "--", "percent": "%s%n", "unicode": "naïve ☃ 漢字 🧪", "not UTF-8": "\xff\xfe\x80a", "control": "\x01\x1b[31m\x7f",
	"bang": "!x", "hash": "# no comment", "semicolon": "a; b && c | d > e", "tilde": "~", "braces": "{a,b}", "equals": "A=b",
}

var argvChecks = []check{
	{"arguments arrive as they are", func(t *testing.T, s *suite) {
		b := s.box(t)
		for name, arg := range oddities {
			got := b.succeed(sandbox.Command{Argv: []string{"sh", "-c", `printf '%s.' "$@"`, "sh", arg, "after"}})
			if want := arg + ".after."; got != want {
				t.Errorf("%s: %q arrived as %q", name, want, got)
			}
		}
	}},
	{"many arguments", func(t *testing.T, s *suite) {
		argv := []string{"sh", "-c", `echo $#; for last; do :; done; printf %s "$last"`, "sh"}
		for range 2000 {
			argv = append(argv, "x")
		}
		if got := s.box(t).succeed(sandbox.Command{Argv: append(argv, "last")}); got != "2001\nlast" {
			t.Errorf("printed %q", tail(got))
		}
	}},
	{"an argument of 100 KB", func(t *testing.T, s *suite) {
		arg := strings.Repeat("0123456789", 10_000)
		if got := s.box(t).succeed(sandbox.Command{Argv: []string{"sh", "-c", `printf %s "$1"`, "sh", arg}}); got != arg {
			t.Errorf("%d bytes arrived of %d", len(got), len(arg))
		}
	}},
	{"a zero byte is refused", func(t *testing.T, s *suite) {
		b := s.box(t)
		for name, cmd := range map[string]sandbox.Command{
			"in an argument": {Argv: []string{"echo", "a\x00b", "c"}}, "in a variable": {Argv: []string{"env"}, Env: map[string]string{"A": "b\x00C=d"}},
			"in the directory": {Argv: []string{"pwd"}, Dir: "\x00"}, "in a variable's name": {Argv: []string{"env"}, Env: map[string]string{"A\x00": "b"}},
		} {
			_, err := b.Exec(b.ctx, cmd, nil, nil)
			wantKind(t, "exec with a zero byte "+name, err, sandbox.KindInvalid)
		}
		b.usable()
	}},
	{"no shell stands between", func(t *testing.T, s *suite) {
		if got := s.box(t).succeed(sandbox.Command{Argv: []string{"echo", "$HOME", "*", "|", "cat"}}); got != "$HOME * | cat\n" {
			t.Errorf("printed %q", got)
		}
	}},
	{"script is appended and outside the workspace", func(t *testing.T, s *suite) {
		b := s.box(t)
		got := b.succeed(sandbox.Command{Argv: []string{"echo", "first"}, Script: []byte("never run")})
		path := strings.TrimSuffix(strings.TrimPrefix(got, "first "), "\n")
		if !strings.HasPrefix(got, "first /") || strings.HasPrefix(path, b.workspace()+"/") {
			t.Errorf("echo first SCRIPT printed %q, want an absolute path outside the workspace", got)
		}
		b.prints("ls -A", "")
	}},
	{"script arrives as it is", func(t *testing.T, s *suite) {
		b := s.box(t)
		for _, script := range []string{allBytes, "no newline", "\n", "a\r\nb\r\n", strings.Repeat("# a long script\n", 70_000)} {
			if got := b.succeed(sandbox.Command{Argv: []string{"cat"}, Script: []byte(script)}); got != script {
				t.Errorf("a script of %d bytes arrived as %d: %q", len(script), len(got), tail(got))
			}
		}
	}},
	{"script with options of the shell", func(t *testing.T, s *suite) {
		b := s.box(t)
		if got := b.exec(sandbox.Command{Argv: []string{"sh", "-e"}, Script: []byte("false\necho reached")}); got.Exit != 1 || got.stdout != "" {
			t.Errorf("sh -e went on after a failure: %+v, %q", got.Result, got.stdout)
		}
		if got := b.exec(sandbox.Command{Argv: []string{"sh"}, Script: []byte("false\necho reached")}); got.Exit != 0 || got.stdout != "reached\n" {
			t.Errorf("sh did not go on after a failure: %+v, %q", got.Result, got.stdout)
		}
	}},
	{"script has stdin for itself", func(t *testing.T, s *suite) {
		got := s.box(t).succeed(sandbox.Command{Argv: []string{"sh"}, Script: []byte("cat; echo after"), Stdin: strings.NewReader("input\n")})
		if got != "input\nafter\n" {
			t.Errorf("printed %q", got)
		}
	}},
	{"scripts of concurrent commands are their own", func(t *testing.T, s *suite) {
		b := s.box(t)
		first := b.start(b.ctx, sandbox.Command{Argv: []string{"sh"}, Script: []byte("echo up\nwhile [ ! -e go ]; do sleep 0.02; done\necho first\n")})
		first.await("up")
		b.prints("echo second; : > go", "second\n")
		if _, err := first.wait(); err != nil || first.out.String() != "up\nfirst\n" {
			t.Errorf("the first script printed %q, error %v", first.out, err)
		}
	}},
}

// allBytes is every byte once.
var allBytes = func() string {
	var b bytes.Buffer
	for i := range 256 {
		b.WriteByte(byte(i))
	}
	return b.String()
}()
