package executor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest/fake"
)

// cases is the head of a recipe with n cases.
func cases(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(i + 1)
	}
	return "cases: {matrix: {n: [" + strings.Join(list, ", ") + "]}}\n"
}

// clean is a step that fails where something is left of another sample.
const clean = `{name: clean, run: 'test -z "$(ls -A)"; test -z "$(ls -A "$TMPDIR")"; echo x > left; echo x > "$TMPDIR/left"'}`

func reused(all map[string]event.Sample) int {
	n := 0
	for _, s := range all {
		if s.Reused {
			n++
		}
	}
	return n
}

func warnings(events []event.Event) []string {
	var all []string
	for _, e := range events {
		if e.Type == event.TypeWarning {
			all = append(all, e.Message)
		}
	}
	return all
}

func TestReuse(t *testing.T) {
	boom := errors.New("boom")
	const one = "steps: [{name: use, run: 'test ! -e left; echo x > left'}]"
	tests := []struct {
		name, recipe string
		fault        fake.Fault
		acquired     int64
		most         int64
		reused       int
		warning      string
		wrong        string // outcome of the one sample that does not pass
	}{
		{"never", cases(8) + "pool: {size: 2}\n" + one, fake.Fault{At: fake.Close}, 8, 2, 0, "", ""},
		{"never, said so", cases(8) + "pool: {size: 2, reuse: never}\n" + one, fake.Fault{At: fake.Close}, 8, 2, 0, "", ""},
		{"one at a time", cases(8) + "pool: {size: 1, reuse: reset}\n" + one, fake.Fault{At: fake.Close}, 1, 1, 7, "", ""},
		{"two sandboxes", cases(4) + "pool: {size: 1, reuse: reset}\nsandboxes: {a: {}, b: {}}\nsteps: [{name: a, sandbox: a, run: 'test ! -e left; echo x > left'}, {name: b, sandbox: b, run: 'test ! -e left; echo x > left'}]",
			fake.Fault{At: fake.Close}, 2, 2, 3, "", ""},
		{"a failing sample", cases(4) + "pool: {size: 1, reuse: reset}\nsteps: [{name: a, run: 'test ! -e left; echo x > left; test ${{ case.n }} -ne 2'}]",
			fake.Fault{At: fake.Close}, 1, 1, 3, "", "failed/exit_code"},
		{"verify has its own", cases(4) + "pool: {size: 1, reuse: reset}\n" + one + "\ncollect: [{src: left}]\nverify: [{name: v, run: 'test \"$(ls)\" = left; echo x > more'}]",
			fake.Fault{At: fake.Close}, 2, 2, 3, "", ""},
		{"a reset that fails", cases(4) + "pool: {size: 1, reuse: reset}\n" + one, fake.Fault{At: fake.Reset, Times: 1, Kind: sandbox.KindUnavailable, Err: boom}, 2, 1, 2,
			"a sandbox could not be reset and was replaced: boom", ""},
		{"resets that fail", cases(4) + "pool: {size: 1, reuse: reset}\n" + one, fake.Fault{At: fake.Reset, Kind: sandbox.KindUnavailable, Err: boom}, 4, 1, 0,
			"a sandbox could not be reset and was replaced: boom", ""},
		{"a reset that hangs", cases(3) + "pool: {size: 1, reuse: reset}\n" + one, fake.Fault{At: fake.Reset, Times: 1, Hang: true}, 2, 1, 1,
			"a sandbox could not be reset and was replaced: context deadline exceeded", ""},
		{"a sandbox that dies", cases(4) + "pool: {size: 1, reuse: reset}\n" + one, fake.Fault{At: fake.ExecEnd, Skip: 1, Times: 1, Die: true}, 2, 1, 2, "", "failed/signal"},
		{"a sandbox that is lost", cases(4) + "pool: {size: 1, reuse: reset}\n" + one, fake.Fault{At: fake.ExecEnd, Skip: 1, Times: 1, Gone: true}, 2, 1, 2, "", "error/lost"},
		{"an error of infrastructure", cases(4) + "pool: {size: 1, reuse: reset}\n" + one, fake.Fault{At: fake.ExecEnd, Skip: 1, Times: 1, Kind: sandbox.KindInternal, Err: boom}, 2, 1, 2, "", "error/exec"},
		{"network case", cases(3) + "pool: {size: 1, reuse: reset}\nsandboxes: {a: {network: case}}\n" + one, fake.Fault{At: fake.Close}, 3, 1, 0,
			"pool.reuse: sandbox a has network case, which is one for each sample: every sample gets a new one", ""},
		{"volumes", cases(3) + "pool: {size: 1, reuse: reset}\nsandboxes: {a: {volumes: [{metadata: {name: v}}]}}\n" + one, fake.Fault{At: fake.Close}, 3, 1, 0,
			"pool.reuse: sandbox a has volumes, which are not emptied: every sample gets a new one", ""},
		{"a spec of each case", cases(6) + "pool: {size: 2, warm: 0, reuse: reset}\nsandboxes: {a: {image: 'i${{ case.n }}'}}\n" + one, fake.Fault{At: fake.Close}, 6, 2, 0, "", ""},
		{"kept too long", "cases: {list: [{i: a, t: 0}, {i: b, t: 660}, {i: a, t: 0}]}\npool: {size: 1, warm: 1, reuse: reset}\nsandboxes: {a: {image: '${{ case.i }}'}}\nsteps: [{name: s, run: 'sleep ${{ case.t }}', timeout: 1h}]",
			fake.Fault{At: fake.Close}, 3, 2, 0, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				b := newBench(t)
				b.open().Inject(tt.fault)
				b.run(tt.recipe)
				wrong := ""
				for id, s := range b.samples() {
					if s.Verdict != event.Passed {
						wrong += outcome(s)
						t.Logf("%s: %s", id, s.Message)
					}
				}
				if wrong != tt.wrong || b.err != nil {
					t.Errorf("samples that did not pass: %q, error %v", wrong, b.err)
				}
				stats := b.provider.Stats()
				if stats.Acquired != tt.acquired || stats.MostLive > tt.most {
					t.Errorf("%+v", stats)
				}
				if n := reused(b.samples()); n != tt.reused {
					t.Errorf("%d samples are marked as reused", n)
				}
				if got := strings.Join(warnings(b.events), "\n"); got != tt.warning {
					t.Errorf("warnings %q", got)
				}
			})
		})
	}
}

// Sandboxes in use, kept and acquired ahead are never more than the pool says, and what one sample leaves no other sees.
func TestReuseAtOnce(t *testing.T) {
	for _, pool := range []string{"{size: 4, reuse: reset}", "{size: 3, warm: 2, reuse: reset}"} {
		b := newBench(t)
		b.run(cases(60) + "pool: " + pool + "\nsteps: [" + clean + "]\nfinally: [{name: f, background: true, run: 'while :; do echo x > late; sleep 0.001; done'}]")
		for id, s := range b.samples() {
			if s.Verdict != event.Passed {
				t.Errorf("%s: %s %s", id, outcome(s), s.Message)
			}
		}
		stats := b.provider.Stats()
		if stats.Acquired > 5 || stats.MostLive > 5 || reused(b.samples()) < 55 || stats.Acquired != stats.Released {
			t.Errorf("%s: %+v, %d reused", pool, stats, reused(b.samples()))
		}
	}
}

// No sandbox that has run steps runs verify, whichever sample's.
func TestVerifyNeverInSandboxesOfSteps(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	of := map[string]string{}
	b.programs["part"] = func(_ context.Context, p *fake.Process) int {
		mu.Lock()
		defer mu.Unlock()
		if was := of[p.Sandbox.ID()]; was != "" && was != p.Args[1] {
			return 1
		}
		of[p.Sandbox.ID()] = p.Args[1]
		return 0
	}
	b.run(cases(20) + "pool: {size: 3, reuse: reset}\nsteps: [{name: a, argv: [part, steps]}]\nverify: [{name: b, argv: [part, verify]}]")
	for id, s := range b.samples() {
		if s.Verdict != event.Passed {
			t.Errorf("%s: %s", id, s.Message)
		}
	}
	if stats := b.provider.Stats(); stats.Acquired > 6 || stats.MostLive > 6 {
		t.Errorf("%+v", stats)
	}
}

// plain hides what sandboxes can do beside the contract; panics makes their Reset panic.
type plain struct {
	sandbox.Provider
	panics bool
}

type plainBox struct{ sandbox.Sandbox }

type panicBox struct{ plainBox }

func (panicBox) Reset(context.Context) error { panic("no reset") }

func (p plain) Acquire(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	sb, err := p.Provider.Acquire(ctx, spec)
	if p.panics {
		return panicBox{plainBox{sb}}, err
	}
	return plainBox{sb}, err
}

func TestSandboxesThatCannotBeReset(t *testing.T) {
	for _, panics := range []bool{false, true} {
		b := newBench(t)
		b.wrap = func(p sandbox.Provider) sandbox.Provider { return plain{p, panics} }
		b.run(cases(5) + "pool: {size: 1, reuse: reset}\nsteps: [{name: a, run: 'true'}]")
		if stats := b.provider.Stats(); stats.Acquired != 5 || reused(b.samples()) != 0 {
			t.Errorf("%+v", stats)
		}
		want := "pool.reuse: reset is not needed here: every sample gets new sandboxes, which is stronger"
		if got := warnings(b.events); !panics && (len(got) != 1 || got[0] != want) {
			t.Errorf("warnings %q", got)
		}
		for id, s := range b.samples() {
			if s.Verdict != event.Passed {
				t.Errorf("%s: %s %s", id, outcome(s), s.Message)
			}
		}
	}
}

// An interruption ends a reset, and takes down what is kept.
func TestInterruptionOfReset(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t)
		b.open().Inject(fake.Fault{At: fake.Reset, Skip: 1, Hang: true})
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(30*time.Second, cancel)
		start := time.Now()
		b.runContext(ctx, cases(5)+"pool: {size: 2, reuse: reset}\nsteps: [{name: a, run: 'sleep ${{ case.n }}'}]")
		if took := time.Since(start); took != 30*time.Second || len(warnings(b.events)) != 0 {
			t.Errorf("took %v, warnings %q", took, warnings(b.events))
		}
	})
}

// A sandbox that was acquired ahead and waited for so long that it may expire is replaced.
func TestAheadForTooLong(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t)
		b.run(cases(3) + "pool: {size: 1, warm: 1}\nsteps: [{name: a, run: 'sleep 700', timeout: 1h}]")
		if stats := b.provider.Stats(); stats.Acquired != 5 || stats.MostLive > 2 {
			t.Errorf("%+v", stats)
		}
		for id, s := range b.samples() {
			if s.Verdict != event.Passed {
				t.Errorf("%s: %s %s", id, outcome(s), s.Message)
			}
		}
	})
}
