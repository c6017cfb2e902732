package executor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/executor"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest/fake"
)

func TestPoolBoundsSandboxes(t *testing.T) {
	tests := []struct {
		name  string
		pool  string
		boxes string
		steps string
		most  int64 // sandboxes at once
	}{
		{"no warm ones", "{size: 3, warm: 0}", "", "[{name: a, run: sleep 0.002}]", 3},
		{"warm ones", "{size: 2, warm: 3}", "", "[{name: a, run: sleep 0.002}]", 5},
		{"auto is none where acquiring is quick", "{size: 2}", "", "[{name: a, run: sleep 0.002}]", 2},
		{"warm ones are sandboxes, not samples", "{size: 2, warm: 1}", "sandboxes: {one: {}, two: {}}\n", "[{name: a, sandbox: one, run: sleep 0.002}, {name: b, sandbox: two, run: 'true'}]", 4},
		{"several in a sample", "{size: 2, warm: 2}", "sandboxes: {one: {}, two: {}}\n", "[{name: a, sandbox: one, run: sleep 0.002}, {name: b, sandbox: two, run: 'true'}]", 6},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.run("cases: {matrix: {n: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}}\nsamples: 3\npool: " + tt.pool + "\n" + tt.boxes + "steps: " + tt.steps)
			all := b.samples()
			if len(all) != 30 || b.result.Started != 30 || b.result.NotRun != 0 {
				t.Fatalf("%d samples, %+v", len(all), b.result)
			}
			for id, s := range all {
				if s.Verdict != event.Passed {
					t.Errorf("%s: %s %s", id, outcome(s), s.Message)
				}
			}
			stats := b.provider.Stats()
			if stats.MostLive > tt.most {
				t.Errorf("%d sandboxes at once, want at most %d", stats.MostLive, tt.most)
			}
			if stats.Acquired != stats.Released {
				t.Errorf("%+v", stats)
			}
		})
	}
}

// A sandbox that is acquired ahead has the spec of the sample that gets it.
func TestWarmSandboxesFit(t *testing.T) {
	b := newBench(t)
	b.programs["spec"] = func(_ context.Context, p *fake.Process) int {
		p.Printf("%s %d\n", p.Sandbox.Spec().Labels["case"], p.Sandbox.Spec().Limits.PIDs)
		return 0
	}
	b.run(`
cases: {list: [{id: a, n: 11}, {id: b, n: 12}, {id: c, n: 13}, {id: d, n: 14}, {id: e, n: 15}]}
pool: {size: 1, warm: 3}
sandboxes: {box: {limits: {pids: "${{ case.n }}"}}}
steps: [{name: s, argv: [spec], expect: {stdout: "${{ case.id }} ${{ case.n }}"}}]
`)
	for id, s := range b.samples() {
		if s.Verdict != event.Passed {
			t.Errorf("%s: %s", id, s.Message)
		}
	}
}

func TestMaxFailures(t *testing.T) {
	b := newBench(t)
	b.opts.MaxFailures = 2
	b.run("cases: {matrix: {n: [1, 2, 3, 4, 5, 6]}}\npool: {size: 1, warm: 2}\nsteps: [{name: a, run: 'test ${{ case.n }} -eq 1'}]")
	if b.result.Stopped != executor.StoppedMaxFailures || b.result.Started != 3 || b.result.NotRun != 3 || b.result.Failed != 2 {
		t.Errorf("%+v", b.result)
	}
	last := b.events[len(b.events)-1]
	if last.Type != event.TypeRecipeEnd || last.RecipeEnd.Stopped != "max-failures" || last.RecipeEnd.NotRun != 3 {
		t.Errorf("last event %+v", last)
	}
}

// A sample's last event has been taken before another takes its place.
func TestRecordedBeforeItCounts(t *testing.T) {
	b := newBench(t)
	var running atomic.Int32
	b.onEvent = func(e event.Event) {
		switch e.Type {
		case event.TypeSampleStart:
			if n := running.Add(1); n > 1 {
				t.Errorf("%d samples at once", n)
			}
		case event.TypeSampleEnd:
			time.Sleep(2 * time.Millisecond)
			running.Add(-1)
		}
	}
	b.run("cases: {matrix: {n: [1, 2, 3, 4, 5, 6]}}\npool: {size: 1}\nsteps: [{name: a, run: 'true'}]")
}

func TestSinkStopsTheRun(t *testing.T) {
	for _, at := range []event.Type{event.TypeRecipeStart, event.TypeSampleStart, event.TypeStepStart, event.TypeStepEnd, event.TypeSampleEnd} {
		t.Run(string(at), func(t *testing.T) {
			b := newBench(t)
			full := errors.New("disk full")
			b.opts.Sink = event.SinkFunc(func(e event.Event) error {
				if e.Type == at {
					return full
				}
				return nil
			})
			b.run("cases: {matrix: {n: [1, 2, 3, 4, 5, 6]}}\nsteps: [{name: a, run: 'true'}]")
			if !errors.Is(b.err, full) || !strings.Contains(b.err.Error(), string(at)) {
				t.Errorf("error %v", b.err)
			}
			if b.result.Stopped != executor.StoppedError || b.result.Started > 2 {
				t.Errorf("%+v", b.result)
			}
		})
	}
}

func TestUnsupportedStopsTheRun(t *testing.T) {
	b := newBench(t)
	b.opts.InfraRetries = 2
	b.open().Inject(fake.Fault{At: fake.Acquire, Kind: sandbox.KindUnsupported, Err: errors.New("no such network")})
	b.run("cases: {matrix: {n: [1, 2, 3, 4, 5, 6]}}\npool: {size: 1}\nsteps: [{name: a, run: 'true'}]")
	if sandbox.KindOf(b.err) != sandbox.KindUnsupported || b.result.Stopped != executor.StoppedUnsupported {
		t.Errorf("error %v, %+v", b.err, b.result)
	}
	if n := b.provider.Stats().Refused; n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// What the provider cannot give one case says nothing of the others.
func TestUnsupportedOfOneCase(t *testing.T) {
	b := newBench(t)
	b.opts.InfraRetries = 2
	b.wrap = func(p sandbox.Provider) sandbox.Provider { return picky{p} }
	b.run("cases: {matrix: {n: [1, 2, 3, 4]}}\npool: {size: 2, warm: 2}\nsandboxes: {a: {image: 'i${{ case.n }}'}}\nsteps: [{name: a, run: 'true'}]")
	if b.err != nil || b.result.Stopped != "" || b.result.Started != 4 {
		t.Errorf("error %v, %+v", b.err, b.result)
	}
	for id, s := range b.samples() {
		want := "passed"
		if id == "n=2#1" {
			want = "error/acquire"
		}
		if outcome(s) != want || s.Tries != 0 {
			t.Errorf("%s: %s after %d tries: %s", id, outcome(s), s.Tries, s.Message)
		}
	}
}

// picky has no image i2.
type picky struct{ sandbox.Provider }

func (p picky) Acquire(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	if spec.Cluster.Image == "i2" {
		return nil, &sandbox.Error{Op: "acquire", Kind: sandbox.KindUnsupported, Err: errors.New("no such image")}
	}
	return p.Provider.Acquire(ctx, spec)
}

// The samples of the first wave say how slow acquiring is: from then on the next ones acquire while these run, however
// many at once, and never more than the pool says.
func TestAcquireAheadOfSlowProvider(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t)
		b.open().Inject(fake.Fault{At: fake.Acquire, Delay: 5 * time.Second})
		start := time.Now()
		b.run("cases: {matrix: {n: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]}}\npool: {size: 4}\nsteps: [{name: a, run: sleep 10}]")
		if took := time.Since(start); took > 40*time.Second {
			t.Errorf("took %v: 5s to acquire, three times 10s to run, and half of the last ones begin to acquire late", took)
		}
		if stats := b.provider.Stats(); stats.Acquired != 12 || stats.MostLive > 8 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestWarningsComeFirst(t *testing.T) {
	b := newBench(t)
	b.run("cases: {matrix: {n: [1, 2, 3]}}\nsandboxes: {one: {limits: {cpu: 1}}, two: {limits: {cpu: 2}}, three: {limits: {memory: \"${{ case.n }}Gi\"}}}\n" +
		"steps: [{name: a, sandbox: one, run: 'true'}, {name: b, sandbox: two, run: 'true'}, {name: c, sandbox: three, run: 'true'}]")
	var got []string
	for _, e := range b.events[:3] {
		got = append(got, string(e.Type)+" "+e.Message)
	}
	want := "recipe.start |warning the fake provider does not enforce the limit cpu|sample.start "
	if strings.Join(got, "|") != want {
		t.Errorf("%q", got)
	}
	count := 0
	for _, e := range b.events {
		if e.Type == event.TypeWarning {
			count++
		}
	}
	if count != 2 { // cpu and memory, each once
		t.Errorf("%d warnings", count)
	}
}

// What was lost has taken its time too.
func TestLostTakesTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t)
		b.programs["lose-late"] = func(ctx context.Context, p *fake.Process) int {
			time.Sleep(7 * time.Second)
			p.Sandbox.Lose()
			<-ctx.Done()
			return 0
		}
		b.run("steps: [{name: a, argv: [lose-late]}]")
		ends := 0
		for _, e := range b.events {
			if e.Type != event.TypeStepEnd {
				continue
			}
			if ends++; e.StepEnd.Reason != event.ReasonLost || e.StepEnd.Duration != 7*time.Second {
				t.Errorf("%+v", e.StepEnd)
			}
		}
		if ends != 1 {
			t.Errorf("%d steps have ended", ends)
		}
	})
}

func TestReleaseFails(t *testing.T) {
	const recipe = "cases: {matrix: {n: [1, 2]}}\npool: {size: 1}\nsteps: [{name: a, run: 'true'}]"
	inBubble(t, func(t *testing.T) {
		b := newBench(t)
		b.open().Inject(fake.Fault{At: fake.Release, Times: 2, Kind: sandbox.KindInternal, Err: errors.New("busy")})
		if b.run(recipe); b.err != nil || len(b.result.Left) != 0 {
			t.Errorf("a release that works at last: %+v, %v", b.result, b.err)
		}
	})
	inBubble(t, func(t *testing.T) {
		b := newBench(t)
		b.mayLeave = true
		b.open().Inject(fake.Fault{At: fake.Release, Times: 3, Kind: sandbox.KindInternal, Err: errors.New("busy")})
		b.run(recipe)
		if b.err != nil || len(b.result.Left) != 1 || b.result.Left[0] != "fake-1" {
			t.Fatalf("%+v, %v", b.result, b.err)
		}
		for _, e := range b.events {
			if e.Type == event.TypeWarning && strings.Contains(e.Message, "fake-1") && strings.Contains(e.Message, "busy") {
				return
			}
		}
		t.Error("no event names what is left")
	})
}

func TestInfraRetries(t *testing.T) {
	boom := errors.New("boom")
	tests := []struct {
		name    string
		recipe  string
		fault   fake.Fault
		want    string
		tries   int // of the sample
		retried int // infra.retry events
	}{
		{"acquire", "steps: [{name: a, run: 'true'}]", fake.Fault{At: fake.Acquire, Times: 1, Kind: sandbox.KindUnavailable, Err: boom}, "passed", 2, 1},
		{"acquire again and again", "steps: [{name: a, run: 'true'}]", fake.Fault{At: fake.Acquire, Kind: sandbox.KindUnavailable, Err: boom}, "error/acquire", 3, 2},
		{"acquire for as long as there is to wait", "steps: [{name: a, run: 'true'}]", fake.Fault{At: fake.Acquire, Kind: sandbox.KindUnavailable, Err: fmt.Errorf("full: %w", context.DeadlineExceeded)}, "error/acquire", 0, 0},
		{"stage", "files: [{content: x, dst: f}]\nsteps: [{name: a, run: 'true'}]", fake.Fault{At: fake.Send, Times: 1, Kind: sandbox.KindLost, Err: boom}, "passed", 2, 1},
		{"exec that did not start", "steps: [{name: a, run: 'true'}]", fake.Fault{At: fake.ExecStart, Times: 1, Kind: sandbox.KindLost, Err: boom}, "passed", 2, 1},
		{"a second exec that did not start", "steps: [{name: a, run: 'true'}, {name: b, run: 'true'}]", fake.Fault{At: fake.ExecStart, Skip: 1, Times: 1, Kind: sandbox.KindLost, Err: boom}, "error/lost", 0, 0},
		{"exec", "steps: [{name: a, run: 'true'}]", fake.Fault{At: fake.ExecEnd, Times: 1, Kind: sandbox.KindLost, Err: boom}, "error/lost", 0, 0},
		{"what will not change", "steps: [{name: a, run: 'true'}]", fake.Fault{At: fake.Acquire, Times: 1, Kind: sandbox.KindInvalid, Err: boom}, "error/acquire", 0, 0},
		{"a failure", "sandboxes: {box: {network: none}}\nsteps: [{name: a, run: exit 1}]", fake.Fault{At: fake.Acquire, Skip: 9}, "failed/exit_code", 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				b := newBench(t)
				b.opts.InfraRetries = executor.DefaultInfraRetries
				b.open().Inject(tt.fault)
				s := b.run(tt.recipe).sample()
				if outcome(s) != tt.want || s.Tries != tt.tries {
					t.Errorf("%s after %d tries: %s", outcome(s), s.Tries, s.Message)
				}
				n := 0
				for _, e := range b.events {
					if e.Type == event.TypeInfraRetry {
						n++
						if e.SampleEnd.Verdict != event.Error || e.SampleEnd.Message == "" {
							t.Errorf("infra.retry of %+v", e.SampleEnd)
						}
					}
				}
				if n != tt.retried {
					t.Errorf("%d infra.retry events", n)
				}
			})
		})
	}
}

// confining is a provider that promises of sandboxes with one network that nothing gets out of them.
type confining struct {
	sandbox.Provider
	network sandbox.Network
}

func (c confining) Confines(spec sandbox.Spec) bool { return spec.Network == c.network }

// What was lost in mid-command runs again only where the provider promises that nothing of it is left outside: the recipe's
// network alone is no promise.
func TestInfraRetriesOfWorkThatRan(t *testing.T) {
	tests := []struct {
		name, network string
		promise       bool // for network none
		want          string
		runs          int64
	}{
		{"no promise, network none", "none", false, "error/lost", 1},
		{"no promise, network case", "case", false, "error/lost", 1},
		{"promised", "none", true, "passed", 2},
		{"promised of others", "host", true, "error/lost", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				b := newBench(t)
				b.opts.InfraRetries = executor.DefaultInfraRetries
				if tt.promise {
					b.wrap = func(p sandbox.Provider) sandbox.Provider { return confining{p, sandbox.NetworkNone} }
				}
				b.open().Inject(fake.Fault{At: fake.ExecEnd, Times: 1, Kind: sandbox.KindLost, Err: errors.New("boom")})
				s := b.run("sandboxes: {box: {network: " + tt.network + "}}\nsteps: [{name: a, run: 'true'}]").sample()
				if n := b.provider.Stats().Execs; outcome(s) != tt.want || n != tt.runs {
					t.Errorf("%s after %d executions: %s", outcome(s), n, s.Message)
				}
			})
		})
	}
}

// What runs in a sandbox that code under test kills never looks like an error of infrastructure.
func TestDeathIsNoError(t *testing.T) {
	b := newBench(t)
	b.programs = programs
	b.plan.Jobs = 4
	steps := "{name: d, argv: [die]}"
	for i := range 20 {
		steps += fmt.Sprintf(", {name: s%d, run: 'true'}", i)
	}
	b.run("cases: {matrix: {n: [1, 2, 3, 4, 5, 6, 7, 8]}}\nsteps: [{name: server, background: true, argv: [hang]}, {parallel: [" + steps + "]}]")
	for id, s := range b.samples() {
		if outcome(s) != "failed/signal" {
			t.Errorf("%s: %s: %s", id, outcome(s), s.Message)
		}
	}
}

func TestRecipeEvents(t *testing.T) {
	b := newBench(t)
	b.opts.File = "recipes/demo.yaml"
	b.opts.Gates = func(gates []event.Gate) []event.GateResult {
		if n := len(b.samples()); n != 6 {
			t.Errorf("gates are judged after %d samples", n)
		}
		return []event.GateResult{{Gate: gates[0], Held: true}}
	}
	b.run("cases: {matrix: {n: [1, 2, 3]}}\nsamples: 2\nvars: {k: v}\npool: {size: 3}\ngates: [pass_rate > 0.5]\nsteps: [{name: a, run: 'true'}]")
	start := b.events[0].RecipeStart
	if start == nil || start.File != "recipes/demo.yaml" || !start.HasCases || start.Samples != 2 || start.Total != 6 || start.Pool != 3 ||
		start.Vars["k"] != "v" || len(start.Gates) != 1 || start.Gates[0].Source != "pass_rate > 0.5" || start.Digest == "" {
		t.Errorf("%+v", start)
	}
	end := b.events[len(b.events)-1].RecipeEnd
	if end == nil || len(end.Gates) != 1 || !end.Gates[0].Held || end.Stopped != "" || end.NotRun != 0 {
		t.Errorf("%+v", end)
	}
	for _, e := range b.events {
		if e.Recipe != "demo" || e.Time.IsZero() {
			t.Errorf("%+v", e)
		}
	}
}

func TestRowsFail(t *testing.T) {
	b := newBench(t, "cases.jsonl", "{\"id\": \"a\"}\n{\"id\": \"b\"}\n{\"id\": \"c\"}\n")
	b.onEvent = func(e event.Event) {
		if e.Type == event.TypeRecipeStart {
			b.write("cases.jsonl", "{\"id\": \"a\"}\n{\"id\": \n")
		}
	}
	b.run("cases: {file: cases.jsonl}\nsteps: [{name: a, run: 'true'}]")
	if b.err == nil || b.result.Stopped != executor.StoppedError {
		t.Errorf("%+v, %v", b.result, b.err)
	}
}

func TestSharedState(t *testing.T) {
	// Many samples with everything at once: what -race looks at.
	b := newBench(t, "data/x", "content")
	b.programs = programs
	b.plan.Jobs = 8
	b.run(`
cases: {matrix: {n: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]}}
env: {N: "${{ case.n }}"}
sandboxes: {one: {}, two: {}}
pool: {warm: 4}
files: [{src: data, dst: .}]
steps:
	- {name: server, background: true, run: echo up; touch up; hang, ready: {command: test -e up}}
	- parallel:
			- {name: p1, id: p1, run: 'echo $N; cat x', capture: {n: 'lines(stdout)[0]'}}
			- {name: p2, sandbox: two, run: cat x, expect: {stdout: content}}
			- {name: p3, run: 'echo ${{ case.n }} > out', retry: {attempts: 2}}
		max: 2
	- {name: after, sandbox: two, files: [{from: one, src: out}], run: "test $(cat out) = ${{ steps.p1.n }}"}
finally: [{name: clean, run: rm -f up}]
collect: [{src: out}]
verify: [{name: v, run: "test $(cat out) = ${{ case.n }}"}]
`)
	for id, s := range b.samples() {
		if s.Verdict != event.Passed {
			t.Errorf("%s: %s %s\n%s", id, outcome(s), s.Message, verdicts(s))
		}
	}
	if n := len(b.samples()); n != 12 {
		t.Errorf("%d samples", n)
	}
}
