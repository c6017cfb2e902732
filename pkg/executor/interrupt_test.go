package executor_test

import (
	"context"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/executor"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest/fake"
)

// An interrupted run ends what runs wherever it is, starts nothing more, takes everything down and records it.
func TestInterruption(t *testing.T) {
	tests := []struct {
		name   string
		recipe string
		fault  fake.Fault
		want   string
		steps  string
		took   time.Duration // after the interruption
	}{
		{"acquire", "steps: [{name: a, run: 'true'}]", fake.Fault{At: fake.Acquire, Hang: true}, "not_run", "a=not_run", 0},
		{"stage", "files: [{content: x, dst: f}]\nsteps: [{name: a, run: 'true'}]", fake.Fault{At: fake.Send, Hang: true}, "not_run", "a=not_run", 0},
		{"command", "steps: [{name: a, argv: [hang]}, {name: b, run: 'true'}]\nfinally: [{name: f, run: 'true'}]\ncollect: [{src: x}]", fake.Fault{At: fake.Close}, "not_run", "a=not_run b=not_run f=not_run", 0},
		{"command that ignores TERM", "steps: [{name: a, argv: [stubborn]}]", fake.Fault{At: fake.Close}, "not_run", "a=not_run", 10 * time.Second},
		{"commands at once", "steps: [{parallel: [{name: a, argv: [stubborn]}, {name: b, argv: [stubborn]}]}, {name: c, background: true, argv: [hang]}]", fake.Fault{At: fake.Close}, "not_run", "a=not_run b=not_run c=not_run", 10 * time.Second},
		{"background", "steps: [{name: s, background: true, argv: [stubborn]}, {name: a, argv: [stubborn]}]", fake.Fault{At: fake.Close}, "not_run", "s=not_run a=not_run", 10 * time.Second},
		{"ready", "steps: [{name: s, background: true, argv: [hang], ready: {output: up, timeout: 5m}}]", fake.Fault{At: fake.Close}, "not_run", "s=not_run", 0},
		{"backoff", "steps: [{name: a, run: exit 1, retry: {attempts: 3, backoff: 1h}, timeout: 3h}]\ntimeout: 5h", fake.Fault{At: fake.Close}, "failed/exit_code", "a=failed/exit_code", 0},
		{"collect", "steps: [{name: a, run: 'true'}]\ncollect: [{src: x}]", fake.Fault{At: fake.Receive, Hang: true}, "not_run", "a=passed", 0},
		{"finally", "steps: [{name: a, run: exit 1}]\nfinally: [{name: f, argv: [hang]}, {name: g, run: 'true'}]", fake.Fault{At: fake.Close}, "failed/exit_code", "a=failed/exit_code f=not_run g=not_run", 0},
		{"verify", "steps: [{name: a, run: 'true'}]\nverify: [{name: v, argv: [hang]}]", fake.Fault{At: fake.Close}, "not_run", "a=passed v=not_run", 0},
		{"verify waits for its sandbox", "steps: [{name: a, run: 'true'}]\nverify: [{name: v, argv: [hang]}]", fake.Fault{At: fake.Acquire, Skip: 1, Hang: true}, "not_run", "a=passed v=not_run", 0},
	}
	for _, tt := range tests {
		for _, level := range []string{"once", "twice"} {
			t.Run(tt.name+" "+level, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					b := newBench(t)
					b.programs = programsWith("stubborn", func(ctx context.Context, p *fake.Process) int {
						p.IgnoreTerm()
						<-ctx.Done()
						return 0
					})
					b.open().Inject(tt.fault)
					ctx, cancel := context.WithCancel(context.Background())
					hurry := make(chan struct{})
					b.opts.Hurry = hurry
					go func() {
						time.Sleep(time.Minute)
						cancel()
						if level == "twice" {
							close(hurry)
						}
					}()
					start := time.Now()
					b.runContext(ctx, "cases: {matrix: {n: [1, 2, 3]}}\npool: {size: 1}\n"+tt.recipe)
					took := time.Since(start) - time.Minute
					if want := tt.took; level == "once" && took != want || level == "twice" && took != 0 {
						t.Errorf("took %v", took)
					}
					all := b.samples()
					if len(all) != 1 {
						t.Fatalf("%d samples ended", len(all))
					}
					s := all["n=1#1"]
					if outcome(s) != tt.want || verdicts(s) != tt.steps {
						t.Errorf("%s with %s: %s", outcome(s), verdicts(s), s.Message)
					}
					if b.err != nil || b.result.Stopped != executor.StoppedInterrupt || b.result.NotRun != 2 {
						t.Errorf("%+v, %v", b.result, b.err)
					}
				})
			})
		}
	}
}

func programsWith(name string, p fake.Program) map[string]fake.Program {
	all := map[string]fake.Program{name: p}
	maps.Copy(all, programs)
	return all
}

// Sandboxes that were acquired ahead are released where their samples never start.
func TestInterruptionReleasesWarmOnes(t *testing.T) {
	b := newBench(t)
	b.programs = programs
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.onEvent = func(e event.Event) {
		if e.Type == event.TypeStepStart {
			go func() {
				for b.provider.Stats().Live < 3 {
					time.Sleep(time.Millisecond)
				}
				cancel()
			}()
		}
	}
	b.runContext(ctx, "cases: {matrix: {n: [1, 2, 3, 4, 5]}}\npool: {size: 1, warm: 2}\nsteps: [{name: a, argv: [hang]}]")
	if b.result.Started != 1 || b.result.NotRun != 4 {
		t.Errorf("%+v", b.result)
	}
}

func TestRunTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t)
		b.programs = programs
		b.opts.Timeout = time.Minute
		b.opts.Deadline = time.Now().Add(time.Minute)
		b.run("cases: {matrix: {n: [1, 2, 3]}}\npool: {size: 2}\nsteps: [{name: a, argv: [hang]}]\nfinally: [{name: f, run: echo x > out}]\ncollect: [{src: out}]")
		for id, s := range b.samples() {
			if outcome(s) != "failed/timeout" || verdicts(s) != "a=failed/timeout f=passed" || !strings.Contains(s.Message, "the run's timeout of 1m0s") || s.Dir == "" {
				t.Errorf("%s: %s %s %s", id, outcome(s), verdicts(s), s.Message)
			}
		}
		if b.result.Stopped != executor.StoppedTimeout || b.result.Started != 2 || b.result.NotRun != 1 {
			t.Errorf("%+v", b.result)
		}
	})
}

func TestRunTimeoutEndsTheWaitForSandboxes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t)
		b.opts.InfraRetries = 2
		b.opts.Timeout = time.Minute
		b.opts.Deadline = time.Now().Add(time.Minute)
		b.open().Inject(fake.Fault{At: fake.Acquire, Hang: true})
		s := b.run("steps: [{name: a, run: 'true'}]").sample()
		if outcome(s) != "not_run" || !strings.Contains(s.Message, "the run's timeout of 1m0s") {
			t.Errorf("%s: %s", outcome(s), s.Message)
		}
	})
}

func TestTimeLimits(t *testing.T) {
	tests := []struct {
		name   string
		recipe string
		want   string
		took   time.Duration
	}{
		{"the step's", "timeout: 2m\nsteps: [{name: a, argv: [hang], timeout: 1m}]", "its timeout of 1m0s", time.Minute},
		{"the sample's", "timeout: 1m\nsteps: [{name: a, argv: [hang], timeout: 2m}]", "the sample's timeout of 1m0s", time.Minute},
		{"of several steps", "timeout: 90s\nsteps: [{name: a, run: sleep 60}, {name: b, argv: [hang], timeout: 1m}]", "the sample's timeout of 1m30s", 90 * time.Second},
		{"default of a step", "steps: [{name: a, argv: [hang]}]", "its timeout of 10m0s", 10 * time.Minute},
		{"ready", "steps: [{name: a, background: true, argv: [hang], ready: {output: up}}]", "its ready timeout of 1m0s", time.Minute},
		{"grace of finally", "timeout: 1m\nsteps: [{name: a, run: 'true'}]\nfinally: [{name: f, argv: [hang]}]", "the sample's timeout of 1m0s and 1m0s more to clean up", 2 * time.Minute},
		{"verify", "timeout: 1m\nsteps: [{name: a, run: sleep 30}]\nverify: [{name: v, argv: [hang]}]", "the sample's timeout of 1m0s", time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				b := newBench(t)
				b.programs = programs
				start := time.Now()
				s := b.run(tt.recipe).sample()
				if outcome(s) != "failed/timeout" || !strings.Contains(s.Message, tt.want) {
					t.Errorf("%s: %s", outcome(s), s.Message)
				}
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// What hangs in finally leaves collect some of the time that both have.
func TestFinallyLeavesCollectTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t)
		b.programs = programs
		s := b.run("timeout: 1m\nsteps: [{name: a, run: echo log > log; sleep 90}]\nfinally: [{name: f, argv: [hang]}]\ncollect: [{src: log}]").sample()
		if outcome(s) != "failed/timeout" || s.Dir == "" || !strings.Contains(b.step("f").Message, "and 45s more to clean up") {
			t.Errorf("%s in %q: %s", outcome(s), s.Dir, b.step("f").Message)
		}
	})
}

// A run whose last samples its time has cut short was stopped by it.
func TestRunTimeoutCutsShort(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t)
		b.programs = programs
		b.opts.Deadline, b.opts.Timeout = time.Now().Add(time.Minute), time.Minute
		b.run("steps: [{name: a, argv: [hang]}]")
		if b.result.Stopped != executor.StoppedTimeout || b.result.NotRun != 0 {
			t.Errorf("%+v", b.result)
		}
	})
}

// The wait for a sandbox is not the sample's time.
func TestAcquireIsNotTheSamplesTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t)
		b.open().Inject(fake.Fault{At: fake.Acquire, Delay: time.Hour})
		s := b.run("timeout: 1m\nsteps: [{name: a, run: sleep 20}]\nverify: [{name: v, run: sleep 20}]").sample()
		if s.Verdict != event.Passed || s.Phases["acquire"] != 7200 || s.Phases["verify"] != 20 {
			t.Errorf("%s: %s %v", outcome(s), s.Message, s.Phases)
		}
	})
}

func TestRetriesBackOff(t *testing.T) {
	for backoff, want := range map[string]time.Duration{
		"10s": 90 * time.Second, // 10, 20, 30, 30
		"1m":  4 * time.Minute,  // as asked, each time
	} {
		inBubble(t, func(t *testing.T) {
			b := newBench(t)
			start := time.Now()
			var at []time.Duration
			b.onEvent = func(e event.Event) {
				if e.Type == event.TypeTryEnd {
					at = append(at, time.Since(start))
				}
			}
			s := b.run("steps: [{name: a, run: exit 1, retry: {attempts: 5, backoff: " + backoff + "}}]").sample()
			if st := b.step("a"); st.Tries != 5 || outcome(s) != "failed/exit_code" || st.Flaky {
				t.Errorf("%+v", st)
			}
			if took := time.Since(start); took != want {
				t.Errorf("%s: took %v, want %v, tries at %v", backoff, took, want, at)
			}
			if len(at) != 4 {
				t.Errorf("%d tries told", len(at))
			}
		})
	}
}

// A retry that could only begin after the sample's time is not waited for: the step's own failure is told.
func TestNoRetryWithoutTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t)
		start := time.Now()
		s := b.run("timeout: 1m\nsteps: [{name: a, run: exit 1, retry: {attempts: 5, backoff: 2m}}]").sample()
		if outcome(s) != "failed/exit_code" || time.Since(start) != 0 {
			t.Errorf("%s after %v", outcome(s), time.Since(start))
		}
	})
}

// pool.warm: auto acquires ahead where getting a sandbox takes long, and never more than the pool's size.
func TestWarmAuto(t *testing.T) {
	for _, slow := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			b := newBench(t)
			if slow {
				b.open().Inject(fake.Fault{At: fake.Acquire, Delay: 30 * time.Second})
			}
			start := time.Now()
			b.run("cases: {matrix: {n: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}}\npool: {size: 2}\nsteps: [{name: a, run: sleep 30}]")
			took, most := time.Since(start), b.provider.Stats().MostLive
			switch {
			case !slow && (most != 2 || took != 150*time.Second):
				t.Errorf("took %v with %d sandboxes", took, most)
			case slow && (most > 4 || took > 250*time.Second): // 300 s without
				t.Errorf("took %v with %d sandboxes", took, most)
			}
		})
	}
}

// panicky is a provider that panics at one method.
type panicky struct {
	sandbox.Provider
	at string
}

func (p panicky) Acquire(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	if p.at == "acquire" {
		panic("acquire panicked")
	}
	sb, err := p.Provider.Acquire(ctx, spec)
	return panickyBox{sb, p.at}, err
}

type panickyBox struct {
	sandbox.Sandbox
	at string
}

func (b panickyBox) Exec(ctx context.Context, cmd sandbox.Command, stdout, stderr io.Writer) (sandbox.Result, error) {
	if b.at == "exec" && cmd.Argv[0] == "panic" {
		panic("exec panicked")
	}
	return b.Sandbox.Exec(ctx, cmd, stdout, stderr)
}

func (b panickyBox) Send(ctx context.Context, dir string, tar io.Reader) error {
	if b.at == "send" {
		panic("send panicked")
	}
	return b.Sandbox.Send(ctx, dir, tar)
}

func (b panickyBox) Receive(ctx context.Context, globs []string) (io.ReadCloser, error) {
	if b.at == "receive" {
		panic("receive panicked")
	}
	return b.Sandbox.Receive(ctx, globs)
}

func (b panickyBox) Release(ctx context.Context) error {
	if err := b.Sandbox.Release(ctx); err != nil {
		return err
	}
	if b.at == "release" {
		panic("release panicked")
	}
	return nil
}

func TestPanics(t *testing.T) {
	tests := []struct{ at, want, steps string }{
		{"acquire", "error/internal", "s=not_run a=not_run b=not_run f=not_run"},
		{"exec", "error/internal", "s=passed a=error/internal b=passed f=passed"},
		{"send", "error/internal", "s=error/internal a=not_run b=not_run f=error/internal"},
		{"receive", "error/internal", "s=passed a=failed/exit_code b=passed f=passed"},
		{"release", "failed/exit_code", "s=passed a=failed/exit_code b=passed f=passed"},
	}
	for _, tt := range tests {
		t.Run(tt.at, func(t *testing.T) {
			b := newBench(t)
			b.programs = programsWith("panic", func(context.Context, *fake.Process) int { return 3 })
			b.opts.InfraRetries = 2
			b.wrap = func(p sandbox.Provider) sandbox.Provider { return panicky{p, tt.at} }
			b.run("files: [{content: x, dst: f}]\nsteps: [{name: s, background: true, argv: [hang]}, {parallel: [{name: a, argv: [panic]}, {name: b, run: 'true'}]}]\n" +
				"finally: [{name: f, run: 'true'}]\ncollect: [{src: out, optional: true}]\n")
			s := b.sample()
			if outcome(s) != tt.want || verdicts(s) != tt.steps {
				t.Errorf("%s with %s: %s", outcome(s), verdicts(s), s.Message)
			}
			if tt.at == "release" && len(b.result.Left) != 1 {
				t.Errorf("%+v", b.result)
			}
		})
	}
}
