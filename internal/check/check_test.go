package check

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

var at = recipe.Pos{Line: 7, Column: 3}

func match(texts ...string) []recipe.Match {
	var m []recipe.Match
	for _, t := range texts {
		m = append(m, recipe.Match{Text: expr.Literal(t), Pos: at})
	}
	return m
}

func template(t *testing.T, src string) *expr.Template {
	t.Helper()
	tmpl, err := expr.Parse(src, expr.Known{CaseOpen: true, EnvOpen: true}.Outcome())
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func condition(t *testing.T, src string) recipe.That {
	t.Helper()
	e, err := expr.CompileCondition(src, expr.Known{CaseOpen: true, EnvOpen: true}.Outcome())
	if err != nil {
		t.Fatal(err)
	}
	return recipe.That{Expr: e, Pos: at}
}

func step(t *testing.T, e recipe.Expect, out Outcome) Report {
	t.Helper()
	r, err := Step(t.Context(), &recipe.Step{Expect: e}, t.TempDir(), out, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func exit(values any) recipe.Exit { return recipe.Exit{Values: expr.LiteralValue(values), Pos: at} }

func messages(r Report) string {
	var lines []string
	for _, f := range r.Findings {
		lines = append(lines, f.Expect+": "+f.Message)
	}
	return strings.Join(lines, "\n")
}

func TestReason(t *testing.T) {
	wrong := &recipe.Text{Equals: match("right"), Pos: at}
	anyStatus := recipe.Exit{Any: true}
	out := Bytes([]byte("wrong\n"))
	tests := []struct {
		name   string
		expect recipe.Expect
		out    Outcome
		reason event.Reason
		want   string // findings, one a line
	}{
		{"all holds", recipe.Expect{}, Outcome{}, "", ""},
		{"status", recipe.Expect{}, Outcome{Exit: 1}, "exit_code", "exit: exit status 1, want 0"},
		{"status with last words", recipe.Expect{}, Outcome{Exit: 1, Stderr: Bytes([]byte("Traceback\nNameError: x\n\n"))}, "exit_code",
			`exit: exit status 1, want 0; stderr ends with "NameError: x"`},
		{"accepted status", recipe.Expect{Exit: exit(3)}, Outcome{Exit: 3}, "", ""},
		{"zero is not accepted then", recipe.Expect{Exit: exit(3)}, Outcome{}, "exit_code", "exit: exit status 0, want 3"},
		{"list", recipe.Expect{Exit: exit([]any{1, 2.0, "3"})}, Outcome{Exit: 3}, "", ""},
		{"not in list", recipe.Expect{Exit: exit([]any{1, 2})}, Outcome{Exit: 3}, "exit_code", "exit: exit status 3, want one of 1, 2"},
		{"bad list", recipe.Expect{Exit: exit([]any{"x"})}, Outcome{}, "assertion",
			`exit: the expected exit status cannot be told: "x" is not a whole number`},
		{"any", recipe.Expect{Exit: anyStatus}, Outcome{Exit: 137, Signal: 9}, "", ""},
		{"signal", recipe.Expect{}, Outcome{Exit: 139, Signal: 11}, "signal", "exit: killed by SIGSEGV (exit status 139), want 0"},
		{"accepted signal", recipe.Expect{Exit: exit(139)}, Outcome{Exit: 139, Signal: 11}, "", ""},
		{"signal of a child of the shell", recipe.Expect{}, Outcome{Exit: 137}, "exit_code",
			"exit: exit status 137 (a shell says so of a command killed by SIGKILL), want 0"},
		{"not found", recipe.Expect{}, Outcome{Exit: 127}, "exit_code", "exit: exit status 127 (a command was not found), want 0"},
		{"assertion", recipe.Expect{Stdout: wrong}, Outcome{Stdout: out}, "assertion",
			`stdout.equals: stdout is not the expected text: the first difference is in line 1, column 1: want "right", got "wrong"`},
		{"status before assertion", recipe.Expect{Stdout: wrong}, Outcome{Exit: 1, Stdout: out}, "exit_code",
			"exit: exit status 1, want 0\n" +
				`stdout.equals: stdout is not the expected text: the first difference is in line 1, column 1: want "right", got "wrong"`},
		{"timeout", recipe.Expect{}, Outcome{Exit: 137, Signal: 9, Limit: "timeout", LimitText: "the step's timeout of 10s"}, "timeout",
			"timeout: the step's timeout of 10s"},
		{"timeout is never accepted", recipe.Expect{Exit: anyStatus}, Outcome{Exit: 137, Signal: 9, Limit: "timeout"}, "timeout",
			"timeout: it ran longer than its timeout"},
		{"timeout before assertion", recipe.Expect{Stdout: wrong}, Outcome{Stdout: out, Exit: 137, Signal: 9, Limit: "timeout"}, "timeout",
			"timeout: it ran longer than its timeout\n" +
				`stdout.equals: stdout is not the expected text: the first difference is in line 1, column 1: want "right", got "wrong"`},
		{"output", recipe.Expect{Exit: exit(137)}, Outcome{Exit: 137, Signal: 9, Limit: "output"}, "output",
			"output: it wrote more output than limits.output allows"},
		{"memory", recipe.Expect{Exit: exit(137)}, Outcome{Exit: 137, Signal: 9, Limit: "oom"}, "oom",
			"oom: it needed more memory than limits.memory allows"},
		{"memory of a child", recipe.Expect{}, Outcome{Exit: 1, Limit: "oom"}, "oom",
			"oom: it needed more memory than limits.memory allows\nexit: exit status 1, want 0"},
		{"sandbox killed", recipe.Expect{Exit: anyStatus}, Outcome{Exit: 137, Signal: 9, Limit: "signal"}, "signal",
			"signal: the sandbox's own first process was killed"},
		{"disk", recipe.Expect{}, Outcome{Exit: 1, Limit: "disk"}, "disk",
			"disk: no space or inodes were left: see limits.disk and limits.inodes\nexit: exit status 1, want 0"},
		{"disk is not accepted as a status", recipe.Expect{Exit: anyStatus}, Outcome{Exit: 1, Limit: "disk"}, "disk",
			"disk: no space or inodes were left: see limits.disk and limits.inodes"},
		{"disk did not matter", recipe.Expect{}, Outcome{Limit: "disk"}, "", ""},
		{"disk explains an assertion", recipe.Expect{Stdout: wrong}, Outcome{Stdout: out, Limit: "pids"}, "pids",
			"pids: it needed more processes or threads than limits.pids allows\n" +
				`stdout.equals: stdout is not the expected text: the first difference is in line 1, column 1: want "right", got "wrong"`},
		{"stopped", recipe.Expect{}, Outcome{Exit: 143, Signal: 15, Stopped: true}, "", ""},
		{"stopped, but output is wrong", recipe.Expect{Stdout: wrong}, Outcome{Exit: 143, Signal: 15, Stopped: true}, "assertion",
			`stdout.equals: stdout is not the expected text: the first difference is in line 1, column 1: want "right", got the end`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := step(t, tt.expect, tt.out)
			if r.Reason != tt.reason {
				t.Errorf("reason %q, want %q", r.Reason, tt.reason)
			}
			if d := cmp.Diff(tt.want, messages(r)); d != "" {
				t.Error(d)
			}
			if want := firstLine(tt.want); want != "" && !strings.HasSuffix(want, r.Message) || (r.Message == "") != (want == "") {
				t.Errorf("message %q is not that of the first finding", r.Message)
			}
		})
	}
}

func TestThat(t *testing.T) {
	out := Outcome{Duration: 1500 * time.Millisecond, Exit: 0,
		Stdout: Bytes([]byte("{\"score\": 0.25}\n")), Stderr: Bytes([]byte("a\xffb\n"))}
	big := Outcome{Stdout: zeros(MaxText + 1)}
	tests := []struct {
		src  string
		out  Outcome
		want string // parts of the message; empty: it holds
	}{
		{"exit == 0 && duration < 2", out, ""},
		{`json(stdout).score > 0.5`, out, `json(stdout).score > 0.5: does not hold, with stdout = "{\"score\": 0.25}\n"`},
		{"duration < 1", out, "duration < 1: does not hold, with duration = 1.500"},
		{"exit == 1", out, "exit == 1: does not hold, with exit = 0"},
		{`stderr contains "\uFFFD"`, out, ""},
		{"json(stderr) != nil", out, "json(stderr) != nil: cannot be evaluated: "},
		{"len(lines(stdout)) == 1", out, ""},
		{"len(stdout) > 3", big, "at most 32 MiB are taken"},
		{`file("note.txt") == "hi"`, out, ""},
		{`file("gone.txt") == "hi"`, out, `file "gone.txt" does not exist`},
		{`file("dir") == "hi"`, out, `file "dir" is a folder`},
	}
	for _, tt := range tests {
		t.Run(tt.src, func(t *testing.T) {
			tt.out.Fetch = func(_ context.Context, paths []string) (map[string]Fetched, error) {
				return map[string]Fetched{"note.txt": {Content: Bytes([]byte("hi"))}, "dir": {Type: fs.ModeDir}}, nil
			}
			r := step(t, recipe.Expect{That: []recipe.That{condition(t, tt.src)}}, tt.out)
			if tt.want == "" {
				if r.Reason != "" {
					t.Error(messages(r))
				}
				return
			}
			if r.Reason != event.ReasonAssertion || !strings.Contains(messages(r), tt.want) || r.Findings[0].Line != at.Line {
				t.Errorf("%s: %s, want %s", r.Reason, messages(r), tt.want)
			}
		})
	}
}

// What is not the fault of the code under test is an error and not a finding.
func TestErrors(t *testing.T) {
	lost := errors.New("the pod is gone")
	fetch := func(context.Context, []string) (map[string]Fetched, error) { return nil, lost }
	stopped, stop := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	stop(interrupted)
	text := &recipe.Text{Equals: match("x")}
	tests := []struct {
		name   string
		ctx    context.Context
		expect recipe.Expect
		out    Outcome
		want   error
	}{
		{"files", t.Context(), recipe.Expect{Files: []recipe.FileExpect{{Path: expr.Literal("x")}}}, Outcome{Fetch: fetch}, lost},
		{"file()", t.Context(), recipe.Expect{That: []recipe.That{condition(t, `file("x") == ""`)}}, Outcome{Fetch: fetch}, lost},
		{"cancelled", stopped, recipe.Expect{Stdout: text}, Outcome{Stdout: Bytes([]byte("x"))}, interrupted},
		{"cancelled, large", stopped, recipe.Expect{Stdout: text}, Outcome{Stdout: zeros(heavy)}, interrupted},
		{"unreadable log", t.Context(), recipe.Expect{Stdout: text}, Outcome{Stdout: broken{lost}}, lost},
		{"unreadable log, json", t.Context(), recipe.Expect{Stdout: &recipe.Text{JSON: expr.LiteralValue(1)}}, Outcome{Stdout: broken{lost}}, lost},
		{"unreadable log, matches", t.Context(), recipe.Expect{Stdout: &recipe.Text{Matches: match("x")}}, Outcome{Stdout: broken{lost}}, lost},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Step(tt.ctx, &recipe.Step{Expect: tt.expect}, t.TempDir(), tt.out, nil, false); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}
