package executor_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest/fake"
)

// programs are commands whose ends a shell cannot have.
var programs = map[string]fake.Program{
	"strike": func(ctx context.Context, p *fake.Process) int {
		p.Strike(sandbox.Limit(p.Args[1]))
		return 1
	},
	"die":  func(ctx context.Context, p *fake.Process) int { p.Sandbox.Die(); <-ctx.Done(); return 0 },
	"lose": func(ctx context.Context, p *fake.Process) int { p.Sandbox.Lose(); <-ctx.Done(); return 0 },
	"hang": func(ctx context.Context, p *fake.Process) int { <-ctx.Done(); return 0 },
	// await CONTENT FILE waits until a file has a content.
	"await": func(ctx context.Context, p *fake.Process) int {
		for ctx.Err() == nil {
			if data, err := p.Sandbox.ReadFile(p.Args[2]); err == nil && strings.TrimSpace(string(data)) == p.Args[1] {
				return 0
			}
			time.Sleep(time.Millisecond)
		}
		return 1
	},
}

// A file that is not taken out of the sandbox says nothing of how the command ended.
func TestFilesThatCannotBeChecked(t *testing.T) {
	for _, at := range []fake.Point{fake.Receive, fake.ReceiveRead} {
		b := newBench(t)
		b.open().Inject(fake.Fault{At: at, Kind: sandbox.KindInvalid, Err: errors.New("boom")})
		s := b.run("steps: [{name: a, run: seq 1 500 > f; exit 3, expect: {exit: 3, files: {f: {size: 1}}}}]").sample()
		if got := b.step("a"); outcome(s) != "failed/artifact" || got.Exit != 3 || !strings.Contains(s.Message, "get files to check: boom") {
			t.Errorf("%s, exit %d: %s", outcome(s), got.Exit, s.Message)
		}
	}
}

func TestVerdicts(t *testing.T) {
	boom := errors.New("boom")
	tests := []struct {
		name    string
		recipe  string
		faults  []fake.Fault
		want    string // of the sample
		steps   string // of the steps
		message string // part of the sample's message
		flaky   bool
		files   []string
	}{
		{name: "pass", recipe: `steps: [{name: a, run: "true"}]`, want: "passed", steps: "a=passed"},
		{name: "exit code", recipe: `steps: [{name: a, run: exit 3}]`, want: "failed/exit_code", steps: "a=failed/exit_code", message: "a: exit status 3"},
		{name: "expected exit", recipe: `steps: [{name: a, run: exit 3, expect: {exit: [0, 3]}}]`, want: "passed", steps: "a=passed"},
		{name: "signal", recipe: `steps: [{name: a, run: kill -9 $$}]`, want: "failed/signal", steps: "a=failed/signal", message: "SIGKILL"},
		{name: "assertion", recipe: `steps: [{name: a, run: echo x, expect: {stdout: y}}]`, want: "failed/assertion", steps: "a=failed/assertion"},
		{name: "status before assertion", recipe: `steps: [{name: a, run: echo x; exit 1, expect: {stdout: y}}]`, want: "failed/exit_code", steps: "a=failed/exit_code"},
		{name: "timeout", recipe: `steps: [{name: a, argv: [hang], timeout: 20ms}]`, want: "failed/timeout", steps: "a=failed/timeout", message: "its timeout of 20ms"},
		{name: "timeout is never accepted", recipe: `steps: [{name: a, argv: [hang], timeout: 20ms, expect: {exit: any}}]`, want: "failed/timeout", steps: "a=failed/timeout"},
		{name: "sample timeout", recipe: "timeout: 20ms\nsteps: [{name: a, argv: [hang]}, {name: b, run: 'true'}]", want: "failed/timeout", steps: "a=failed/timeout b=not_run", message: "the sample's timeout of 20ms"},
		{name: "sample timeout counts in spite of continue_on_error", recipe: "timeout: 20ms\nsteps: [{name: a, argv: [hang], continue_on_error: true}, {name: b, run: 'true'}]", want: "failed/timeout", steps: "a=failed/timeout b=not_run"},
		{name: "oom", recipe: `steps: [{name: a, argv: [strike, oom]}]`, want: "failed/oom", steps: "a=failed/oom"},
		{name: "pids", recipe: `steps: [{name: a, argv: [strike, pids]}]`, want: "failed/pids", steps: "a=failed/pids"},
		{name: "disk", recipe: `steps: [{name: a, argv: [strike, disk]}]`, want: "failed/disk", steps: "a=failed/disk"},
		{name: "output", recipe: "sandboxes: {box: {limits: {output: 1Ki}}}\nsteps: [{name: a, run: yes}]", want: "failed/output", steps: "a=failed/output"},
		{name: "died", recipe: `steps: [{name: a, argv: [die]}, {name: b, run: "true"}]`, want: "failed/signal", steps: "a=failed/signal b=not_run"},
		{name: "died counts in spite of continue_on_error", recipe: `steps: [{name: a, argv: [die], continue_on_error: true}, {name: b, run: "true"}]`, want: "failed/signal", steps: "a=failed/signal b=not_run"},
		{name: "died before finally and collect", recipe: "steps: [{name: a, argv: [die]}]\nfinally: [{name: f, run: 'true'}]\ncollect: [{src: x}]", want: "failed/signal", steps: "a=failed/signal f=not_run"},
		{name: "lost", recipe: "steps: [{name: a, argv: [lose]}]\nfinally: [{name: f, run: 'true'}]", want: "error/lost", steps: "a=error/lost f=not_run"},
		{name: "exec", recipe: `steps: [{name: a, run: "true"}]`, faults: []fake.Fault{{At: fake.ExecStart, Kind: sandbox.KindInternal, Err: boom}}, want: "error/exec", steps: "a=error/exec", message: "boom"},
		{name: "infrastructure is not tolerated", recipe: `steps: [{name: a, run: "true", continue_on_error: true}]`, faults: []fake.Fault{{At: fake.ExecStart, Kind: sandbox.KindInternal, Err: boom}}, want: "error/exec", steps: "a=error/exec"},
		{name: "acquire", recipe: `steps: [{name: a, run: "true"}]`, faults: []fake.Fault{{At: fake.Acquire, Kind: sandbox.KindUnavailable, Err: boom}}, want: "error/acquire", steps: "a=not_run", message: "boom"},
		{name: "stage", recipe: "files: [{content: x, dst: f}]\nsteps: [{name: a, run: 'true'}]", faults: []fake.Fault{{At: fake.Send, Kind: sandbox.KindInternal, Err: boom}}, want: "error/stage", steps: "a=error/stage"},
		{name: "stage on a full disk", recipe: "sandboxes: {box: {limits: {disk: 4Ki}}}\nfiles: [{src: big}]\nsteps: [{name: a, run: 'true'}]", files: []string{"big", strings.Repeat("x", 8192)}, want: "failed/disk", steps: "a=failed/disk"},
		{name: "collect", recipe: "steps: [{name: a, run: 'echo x > f'}]\ncollect: [{src: f}]", faults: []fake.Fault{{At: fake.Receive, Kind: sandbox.KindInternal, Err: boom}}, want: "error/collect", steps: "a=passed"},
		{name: "collect breaks off", recipe: "steps: [{name: a, run: 'seq 1 1000 > f'}]\ncollect: [{src: f}]", faults: []fake.Fault{{At: fake.ReceiveRead, Kind: sandbox.KindInternal, Err: boom}}, want: "error/collect", steps: "a=passed"},
		{name: "artifact", recipe: "steps: [{name: a, run: 'true'}]\ncollect: [{src: '*.json'}]", want: "failed/artifact", steps: "a=passed", message: "nothing matches *.json"},
		{name: "optional artifact", recipe: "steps: [{name: a, run: 'true'}]\ncollect: [{src: '*.json', optional: true}]", want: "passed", steps: "a=passed"},
		{name: "artifact of which the case says that it is optional", recipe: "cases: {list: [{id: a, o: true}]}\nsteps: [{name: a, run: 'true'}]\ncollect: [{src: '*.json', optional: '${{ case.o }}'}]", want: "passed", steps: "a=passed"},
		{name: "artifact of which the case says that it is not", recipe: "cases: {list: [{id: a, o: false}]}\nsteps: [{name: a, run: 'true'}]\ncollect: [{src: '*.json', optional: '${{ case.o }}'}]", want: "failed/artifact", steps: "a=passed", message: "nothing matches *.json"},
		{name: "artifact of which the case says neither", recipe: "cases: {list: [{id: a, o: 3}]}\nsteps: [{name: a, run: 'true'}]\ncollect: [{src: '*.json', optional: '${{ case.o }}'}]", want: "failed/assertion", steps: "a=passed", message: "true or false is needed"},
		{name: "mode of the case that is none", recipe: "cases: {list: [{id: a, m: rwx}]}\nsteps: [{name: a, files: [{content: x, dst: f, mode: '${{ case.m }}'}], run: 'true'}]", want: "failed/assertion", steps: "a=failed/assertion", message: "permission bits"},
		{name: "optional transfer of which the case says neither", recipe: "cases: {list: [{id: a, o: 3}]}\nsandboxes: {one: {}, two: {}}\nsteps: [{name: a, sandbox: one, run: touch f}, {name: b, sandbox: two, files: [{from: one, src: f, optional: '${{ case.o }}'}, {from: one, src: g, optional: '${{ case.o }}'}], run: 'true'}]", want: "failed/assertion", steps: "a=passed b=failed/assertion", message: "true or false is needed"},
		{name: "artifact after a failure", recipe: "steps: [{name: a, run: exit 1}]\ncollect: [{src: '*.json'}]", want: "failed/exit_code", steps: "a=failed/exit_code"},
		{name: "error over failure", recipe: "steps: [{name: a, run: exit 1}]\nfinally: [{name: f, argv: [lose]}]", want: "error/lost", steps: "a=failed/exit_code f=error/lost", message: "f: "},
		{name: "skipped", recipe: `steps: [{name: a, if: "false", run: exit 1}, {name: b, if: "1 > 2", run: exit 1}]`, want: "skipped", steps: "a=skipped b=skipped"},
		{name: "one skipped", recipe: `steps: [{name: a, if: "false", run: exit 1}, {name: b, run: "true"}]`, want: "passed", steps: "a=skipped b=passed"},
		{name: "not run", recipe: `steps: [{name: a, run: exit 1}, {name: b, run: "true"}]`, want: "failed/exit_code", steps: "a=failed/exit_code b=not_run"},
		{name: "finally runs", recipe: "steps: [{name: a, run: exit 1}]\nfinally: [{name: f, run: exit 2}, {name: g, run: 'true'}]", want: "failed/exit_code", steps: "a=failed/exit_code f=failed/exit_code g=passed", message: "a: "},
		{name: "finally counts", recipe: "steps: [{name: a, run: 'true'}]\nfinally: [{name: f, run: exit 2}]", want: "failed/exit_code", steps: "a=passed f=failed/exit_code", message: "f: "},
		{name: "finally has time after the sample's timeout", recipe: "timeout: 20ms\nsteps: [{name: a, argv: [hang]}]\nfinally: [{name: f, run: echo x > out}]\ncollect: [{src: out}]", want: "failed/timeout", steps: "a=failed/timeout f=passed"},
		{name: "continue_on_error", recipe: `steps: [{name: a, run: exit 1, continue_on_error: true}, {name: b, run: "true"}]`, want: "passed", steps: "a=failed/exit_code b=passed"},
		{name: "only tolerated", recipe: `steps: [{name: a, run: exit 1, continue_on_error: true}]`, want: "passed", steps: "a=failed/exit_code"},
		{name: "flaky", recipe: `steps: [{name: a, run: "test -e x || { touch x; exit 1; }", retry: {attempts: 3}}]`, want: "passed", steps: "a=passed", flaky: true},
		{name: "not flaky where it does not count", recipe: `steps: [{name: a, run: "test -e x || { touch x; exit 1; }", retry: {attempts: 3}, continue_on_error: true}]`, want: "passed", steps: "a=passed"},
		{name: "no such directory", recipe: `steps: [{name: a, run: "true", dir: none}]`, want: "failed/exit_code", steps: "a=failed/exit_code", message: "none"},
		{name: "no such directory is expected", recipe: `steps: [{name: a, run: "true", dir: none, expect: {exit: 126, that: exit == 126}}]`, want: "passed", steps: "a=passed"},
		{name: "ambiguous when it runs", recipe: "vars: {k: a}\nsteps: [{name: a, run: 'true'}, {name: a, run: 'true'}, {name: b, if: 'steps[vars.k].exit == 0', run: 'true'}]", want: "failed/assertion", steps: "a=passed a=passed b=failed/assertion", message: "steps.a is ambiguous"},
		{name: "retry of another reason", recipe: `steps: [{name: a, run: "test -e x || { touch x; exit 1; }", retry: {attempts: 3, on: [timeout]}}]`, want: "failed/exit_code", steps: "a=failed/exit_code"},
		{name: "flaky and failed", recipe: `steps: [{name: a, run: "test -e x || { touch x; exit 1; }", retry: {attempts: 3}}, {name: b, run: exit 1}]`, want: "failed/exit_code", steps: "a=passed b=failed/exit_code"},
		{name: "bad output in an expression", recipe: `steps: [{name: a, id: a, run: echo no json}, {name: b, run: "echo ${{ json(steps.a.stdout).x }}"}]`, want: "failed/assertion", steps: "a=passed b=failed/assertion"},
		{name: "bad output in if", recipe: `steps: [{name: a, id: a, run: echo no json}, {name: b, if: json(steps.a.stdout).x > 1, run: "true"}]`, want: "failed/assertion", steps: "a=passed b=failed/assertion"},
		{name: "working directory is missing", recipe: `steps: [{name: a, run: "true", dir: nowhere}]`, want: "failed/exit_code", steps: "a=failed/exit_code", message: "nowhere"},
		{name: "environment in if", recipe: "env: {A: r}\nsandboxes: {box: {env: {B: s}}}\nsteps: [{name: a, env: {C: \"${{ env.B }}t\"}, if: 'env.A + env.B + env.C == \"rsst\"', run: 'true'}, {name: b, if: env.A != 'r', run: exit 1}]", want: "passed", steps: "a=passed b=skipped"},
		{name: "environment in if that cannot be evaluated", recipe: "steps: [{name: a, run: echo x}, {name: b, env: {N: '${{ json(steps.a.stdout).n }}'}, if: env.N == '1', run: 'true'}]", want: "failed/assertion", steps: "a=passed b=failed/assertion", message: "if cannot be evaluated: env.N"},
		{name: "siblings finish", recipe: `steps: [{parallel: [{name: a, run: exit 1}, {name: b, run: sleep 0.05; exit 2}]}, {name: c, run: "true"}]`, want: "failed/exit_code", steps: "a=failed/exit_code b=failed/exit_code c=not_run", message: "a: "},
		{name: "siblings of one that dies", recipe: `steps: [{parallel: [{name: a, run: touch up; hang}, {name: b, run: await '' up && die}]}]`, want: "failed/signal", steps: "a=failed/signal b=failed/signal"},
		{name: "background passes", recipe: `steps: [{name: s, background: true, argv: [hang]}, {name: b, run: "true"}]`, want: "passed", steps: "s=passed b=passed"},
		{name: "background ends well", recipe: `steps: [{name: s, background: true, run: touch x}, {name: b, argv: [await, "", x]}]`, want: "passed", steps: "s=passed b=passed"},
		{name: "background dies", recipe: `steps: [{name: s, background: true, run: sleep 0.01; exit 4}, {name: b, run: sleep 0.3}, {name: c, run: "true"}]`, want: "failed/exit_code", steps: "s=failed/exit_code b=passed c=not_run", message: "s: exit status 4"},
		{name: "background ready by output", recipe: `steps: [{name: s, background: true, run: "sleep 0.02; echo port 80 is open; sleep 100", ready: {output: "port \\d+"}}, {name: b, run: "true"}]`, want: "passed", steps: "s=passed b=passed"},
		{name: "background ready by a prompt", recipe: `steps: [{name: s, background: true, run: "echo hello; printf 'ready> '; sleep 100", ready: {output: "^ready> $"}}, {name: b, run: "true"}]`, want: "passed", steps: "s=passed b=passed"},
		{name: "background ready by its last words", recipe: `steps: [{name: s, background: true, run: "printf ready", ready: {output: ready}}, {name: b, run: "true"}]`, want: "passed", steps: "s=passed b=passed"},
		{name: "background ready by command", recipe: `steps: [{name: s, background: true, run: "sleep 0.02; touch up; sleep 100", ready: {command: test -e up}}, {name: b, run: test -e up}]`, want: "passed", steps: "s=passed b=passed"},
		{name: "background never ready", recipe: `steps: [{name: s, background: true, argv: [hang], ready: {command: "echo not yet >&2; exit 7", timeout: 50ms}}, {name: b, run: "true"}]`, want: "failed/timeout", steps: "s=failed/timeout b=not_run", message: "exit status was 7: not yet"},
		{name: "background ends before it is ready", recipe: `steps: [{name: s, background: true, run: "echo oops >&2; exit 1", ready: {output: up}}, {name: b, run: "true"}]`, want: "failed/exit_code", steps: "s=failed/exit_code b=not_run", message: "it ended before a line matches"},
		{name: "background ends while its ready command runs", recipe: `steps: [{name: s, background: true, run: "sleep 0.02; echo oops >&2; exit 3", ready: {command: hang, timeout: 30m}}, {name: b, run: "true"}]`, want: "failed/exit_code", steps: "s=failed/exit_code b=not_run", message: "it ended before its ready command succeeds: exit status 3"},
		{name: "background leaves something that becomes ready", recipe: `steps: [{name: s, background: true, run: "true", ready: {command: "test -e up || { touch up; exit 1; }", timeout: 20s}}, {name: b, run: test -e up}]`, want: "passed", steps: "s=passed b=passed"},
		{name: "background ends well without being ready", recipe: `steps: [{name: s, background: true, run: "true", ready: {output: up}}]`, want: "failed/assertion", steps: "s=failed/assertion"},
		{name: "background is stopped for finally", recipe: "steps: [{name: s, background: true, argv: [hang]}, {name: b, run: exit 1}]\nfinally: [{name: f, run: 'true'}]", want: "failed/exit_code", steps: "s=passed b=failed/exit_code f=passed", message: "b: "},
		{name: "verify", recipe: "steps: [{name: a, run: echo 42 > answer; touch other}]\ncollect: [{src: answer}]\nverify: [{name: v, run: 'test \"$(cat answer)\" = 42; test ! -e other'}]", want: "passed", steps: "a=passed v=passed"},
		{name: "verify fails", recipe: "steps: [{name: a, run: echo 41 > answer}]\ncollect: [{src: answer}]\nverify: [{name: v, run: 'test \"$(cat answer)\" = 42'}]", want: "failed/exit_code", steps: "a=passed v=failed/exit_code", message: "v: "},
		{name: "an artifact in the place of a verify step's folder", recipe: "steps: [{name: a, run: echo x > tests}]\ncollect: [{src: '**'}]\nverify: [{name: v, files: [{content: x, dst: tests/t}], run: 'true'}]", want: "failed/artifact", steps: "a=passed v=failed/artifact", message: "v: stage files: "},
		{name: "a transferred file in the place of a folder", recipe: "sandboxes: {one: {}, two: {}}\nsteps: [{name: a, sandbox: one, run: touch f}, {name: b, sandbox: two, files: [{from: one, src: f, dst: x}, {content: x, dst: x/y}], run: 'true'}]", want: "failed/artifact", steps: "a=passed b=failed/artifact"},
		{name: "a transferred file below a file", recipe: "sandboxes: {one: {}, two: {}}\nsteps: [{name: a, sandbox: one, run: touch f}, {name: b, sandbox: two, files: [{content: x, dst: x}, {from: one, src: f, dst: x/y}], run: 'true'}]", want: "failed/artifact", steps: "a=passed b=failed/artifact"},
		{name: "a file below a file of the recipe's own", recipe: "files: [{content: x, dst: f}]\nsteps: [{name: a, files: [{content: x, dst: f/g}], run: 'true'}]", want: "error/stage", steps: "a=error/stage"},
		{name: "no verify after a failure", recipe: "steps: [{name: a, run: exit 1}]\nverify: [{name: v, run: 'true'}]", want: "failed/exit_code", steps: "a=failed/exit_code v=not_run"},
		{name: "no verify after a missing artifact", recipe: "steps: [{name: a, run: 'true'}]\ncollect: [{src: x}]\nverify: [{name: v, run: 'true'}]", want: "failed/artifact", steps: "a=passed v=not_run"},
		{name: "host of a sandbox without a step", recipe: "sandboxes: {one: {network: case}, two: {network: case}}\nsteps: [{name: a, run: 'echo ${{ sandbox.two.host }}'}]", want: "failed/assertion", steps: "a=failed/assertion", message: "no step of this part runs in this sandbox"},
		{name: "artifact comes before verify", recipe: "steps: [{name: a, run: mkfifo x}]\ncollect: [{src: x}]\nverify: [{name: v, run: 'true'}]", want: "failed/artifact", steps: "a=passed v=not_run", message: "FIFO"},
		{name: "a sandbox of verify that files go to and no step runs in", recipe: "sandboxes: {one: {}, two: {}}\nsteps: [{name: a, run: 'true'}]\nverify: [{name: v, files: [{content: x, dst: y, sandbox: two}], run: 'true'}]", want: "passed", steps: "a=passed v=passed"},
		{name: "verify is not acquired", recipe: "steps: [{name: a, run: 'true'}]\nverify: [{name: v, run: 'true'}]", faults: []fake.Fault{{At: fake.Acquire, Skip: 1, Kind: sandbox.KindUnavailable, Err: boom}}, want: "error/acquire", steps: "a=passed v=not_run"},
		{name: "transfer", recipe: "sandboxes: {one: {}, two: {}}\nsteps: [{name: a, sandbox: one, run: 'mkdir -p d/e; echo x > d/e/f'}, {name: b, sandbox: two, files: [{from: one, src: d, dst: got}], run: cat got/e/f, expect: {stdout: x}}]", want: "passed", steps: "a=passed b=passed"},
		{name: "optional transfer by a variable", recipe: "vars: {o: true}\nsandboxes: {one: {}, two: {}}\nsteps: [{name: a, sandbox: one, run: touch f}, {name: b, sandbox: two, files: [{from: one, src: f, mode: \"0${{ 700 }}\"}, {from: one, src: g, optional: '${{ vars.o }}'}], run: 'test -x f'}]", want: "passed", steps: "a=passed b=passed"},
		{name: "transfer of a glob", recipe: "sandboxes: {one: {}, two: {}}\nsteps: [{name: a, sandbox: one, run: 'mkdir -p d/e; echo x > d/e/f; echo y > d/g'}, {name: b, sandbox: two, files: [{from: one, src: 'd/**/f', dst: got}], run: 'cat got/e/f; test ! -e got/g', expect: {stdout: x}}]", want: "passed", steps: "a=passed b=passed"},
		{name: "transfer of nothing", recipe: "sandboxes: {one: {}, two: {}}\nsteps: [{name: b, sandbox: two, files: [{from: one, src: nothing}], run: 'true'}]", want: "failed/artifact", steps: "b=failed/artifact", message: "nothing from sandbox one"},
		{name: "transfer of a FIFO", recipe: "sandboxes: {one: {}, two: {}}\nsteps: [{name: a, sandbox: one, run: mkfifo p}, {name: b, sandbox: two, files: [{from: one, src: p}], run: 'true'}]", want: "failed/artifact", steps: "a=passed b=failed/artifact", message: "FIFO"},
		{name: "files on first use", recipe: "sandboxes: {one: {}, two: {}}\nfiles: [{src: d, dst: .}, {content: hi, dst: only, sandbox: two}]\nsteps: [{name: a, sandbox: one, run: 'cat x; test ! -e only', expect: {stdout: data}}, {name: b, sandbox: two, run: cat only, expect: {stdout: hi}}]", files: []string{"d/x", "data"}, want: "passed", steps: "a=passed b=passed"},
		{name: "files on a first use that is a transfer or collect", recipe: "sandboxes: {one: {}, two: {}, three: {}}\nfiles: [{content: hi, dst: f}]\nsteps: [{name: a, sandbox: two, files: [{from: one, src: f, dst: g}], run: cat g, expect: {stdout: hi}}]\ncollect: [{src: f, sandbox: three}]", want: "passed", steps: "a=passed"},
		{name: "collect after files that were not staged", recipe: "vars: {d: f}\nfiles: [{content: hi, dst: f}, {content: x, dst: '${{ vars.d }}/g'}]\nsteps: [{name: a, run: 'true'}]\ncollect: [{src: none, optional: true}]", want: "error/stage", steps: "a=error/stage", message: "a: stage files"},
		{name: "capture and condition", recipe: "steps: [{name: a, id: a, run: 'echo {\\\"n\\\": 3}', capture: {n: json(stdout).n, bad: json(stderr)}}, {name: b, if: steps.a.n == 3 && steps.a.bad == nil, run: \"echo ${{ steps.a.n }}\", expect: {stdout: '3'}}, {name: c, if: steps.a.n != 3, run: exit 1}]", want: "passed", steps: "a=passed b=passed c=skipped"},
		{name: "environment", recipe: "env: {A: r, B: r, C: r}\nsandboxes: {box: {env: {B: s, C: s}}}\nsteps: [{name: a, env: {C: \"${{ env.B }}t\"}, run: 'echo $A $B $C', expect: {stdout: r s st}}, {name: b, run: \"echo ${{ env.C }}\", expect: {stdout: s}}]", want: "passed", steps: "a=passed b=passed"},
		{name: "file expectations", recipe: "steps: [{name: a, run: 'mkdir out; echo hi > out/x; ln -s x out/l', expect: {files: {out/x: {equals: hi}, out/l: {equals: hi}, out: {exists: true}, gone: {exists: false}}, that: ['file(\"out/x\") startsWith \"hi\"']}}]", want: "passed", steps: "a=passed"},
		{name: "sandbox hosts", recipe: "sandboxes: {one: {network: case}, two: {network: case}}\nsteps: [{name: a, sandbox: two, run: \"echo ${{ sandbox.one.host }}\", expect: {stdout: {contains: .fake}}}, {name: b, sandbox: one, run: 'true'}]", want: "passed", steps: "a=passed b=passed"},
		{name: "stdin", recipe: "steps: [{name: a, stdin: \"a\\nb\\n\", run: wc -l, expect: {stdout: {matches: '^\\s*2'}}}, {name: b, stdin: {file: in.txt}, argv: [cat], expect: {stdout: from a file}}, {name: c, argv: [cat], expect: {stdout: ''}}]", files: []string{"in.txt", "from a file"}, want: "passed", steps: "a=passed b=passed c=passed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, tt.files...)
			b.programs = programs
			for _, f := range tt.faults {
				b.open().Inject(f)
			}
			s := b.run(tt.recipe).sample()
			if got := outcome(s); got != tt.want {
				t.Errorf("sample %s, want %s: %s", got, tt.want, s.Message)
			}
			if got := verdicts(s); got != tt.steps {
				t.Errorf("steps %s\nwant  %s", got, tt.steps)
			}
			if !strings.Contains(s.Message, tt.message) {
				t.Errorf("message %q has no %q", s.Message, tt.message)
			}
			if s.Flaky != tt.flaky {
				t.Errorf("flaky %v", s.Flaky)
			}
		})
	}
}
