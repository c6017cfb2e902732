package executor_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/executor"
	"github.com/sbxrun/sbxrun/pkg/plan"
	"github.com/sbxrun/sbxrun/pkg/recipe"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest/fake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is one run of a recipe on the fake provider, with what it recorded.
type bench struct {
	t        *testing.T
	dir      string // of the recipe
	provider *fake.Provider
	programs map[string]fake.Program
	secrets  map[string]string
	opts     executor.Options
	plan     plan.Options
	onEvent  func(event.Event)
	wrap     func(sandbox.Provider) sandbox.Provider
	mayLeave bool // sandboxes may be left

	mu     sync.Mutex
	events []event.Event
	result executor.Result
	err    error
}

// newBench makes a bench whose recipe's folder has these files, given as name and content.
func newBench(t *testing.T, files ...string) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), programs: map[string]fake.Program{}}
	for i := 0; i+1 < len(files); i += 2 {
		b.write(files[i], files[i+1])
	}
	b.opts.Dir = t.TempDir()
	b.opts.RunID = "r1"
	return b
}

func (b *bench) write(name, content string) {
	b.t.Helper()
	full := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(full), 0o777); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// open makes the provider, so that faults can be injected before run.
func (b *bench) open() *fake.Provider {
	if b.provider == nil {
		var err error
		if b.provider, err = fake.Open(context.Background(), fake.Options{Programs: b.programs}); err != nil {
			b.t.Fatal(err)
		}
	}
	return b.provider
}

// run runs a recipe, given without version and name, and checks that nothing is left of it.
func (b *bench) run(source string) *bench {
	b.t.Helper()
	return b.runContext(context.Background(), source)
}

func (b *bench) runContext(ctx context.Context, source string) *bench {
	b.t.Helper()
	source = "version: 1\nname: demo\n" + strings.ReplaceAll(source, "\t", "  ")
	r, err := recipe.Parse(filepath.Join(b.dir, "recipe.yaml"), []byte(source))
	if err != nil {
		b.t.Fatalf("recipe:\n%v", err)
	}
	opts := b.plan
	opts.LookupEnv = func(name string) (string, bool) { v, ok := b.secrets[name]; return v, ok }
	if opts.DefaultJobs == 0 {
		opts.DefaultJobs = 2
	}
	p, err := plan.Build(ctx, r, opts)
	if err != nil {
		b.t.Fatalf("plan: %v", err)
	}
	b.opts.Provider = b.open()
	if b.wrap != nil {
		b.opts.Provider = b.wrap(b.opts.Provider)
	}
	if b.opts.Sink == nil {
		b.opts.Sink = event.SinkFunc(func(e event.Event) error {
			b.mu.Lock()
			b.events = append(b.events, e)
			b.mu.Unlock()
			if b.onEvent != nil {
				b.onEvent(e)
			}
			return nil
		})
	}
	b.result, b.err = executor.Run(ctx, p, b.opts)
	if live := b.provider.Stats().Live; live != 0 && !b.mayLeave {
		b.t.Errorf("%d sandboxes were not released", live)
	}
	return b
}

// samples returns the samples that ended, by ID#SAMPLE.
func (b *bench) samples() map[string]event.Sample {
	m := map[string]event.Sample{}
	for _, e := range b.events {
		if e.Type == event.TypeSampleEnd {
			key := fmt.Sprintf("%s#%d", e.Case, e.Sample)
			if _, twice := m[key]; twice {
				b.t.Errorf("sample %s ended twice", key)
			}
			m[key] = *e.SampleEnd
		}
	}
	return m
}

// sample returns the only sample.
func (b *bench) sample() event.Sample {
	b.t.Helper()
	all := b.samples()
	if len(all) != 1 || b.err != nil {
		b.t.Fatalf("%d samples ended, error %v", len(all), b.err)
	}
	for _, s := range all {
		return s
	}
	panic("unreachable")
}

// step returns how a step ended.
func (b *bench) step(name string) event.Step {
	b.t.Helper()
	for _, e := range b.events {
		if e.Type == event.TypeStepEnd && e.StepEnd.Name == name {
			return *e.StepEnd
		}
	}
	b.t.Fatalf("step %s did not end", name)
	panic("unreachable")
}

// verdicts lists steps as name=verdict or name=verdict/reason, in the order of the sample's result.
func verdicts(s event.Sample) string {
	var all []string
	for _, st := range s.Steps {
		text := st.Name + "=" + string(st.Verdict)
		if st.Reason != "" {
			text += "/" + string(st.Reason)
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func outcome(s event.Sample) string {
	if s.Reason == "" {
		return string(s.Verdict)
	}
	return string(s.Verdict) + "/" + string(s.Reason)
}

// tree lists the files below a folder, as path or path=content.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if d.Type()&os.ModeSymlink != 0 {
			target, err := os.Readlink(p)
			all = append(all, rel+" -> "+target)
			return err
		}
		data, err := os.ReadFile(p)
		all = append(all, rel+"="+string(data))
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	sort.Strings(all)
	return all
}

func TestHello(t *testing.T) {
	b := newBench(t).run(`
steps:
	- name: hello
		run: echo hello
		expect: {stdout: hello}
`)
	s := b.sample()
	if s.Verdict != event.Passed {
		t.Fatalf("%+v", s)
	}
	st := b.step("hello")
	if st.Stdout.Head != "hello\n" || st.Stdout.Size != 6 || st.Stdout.Path != "logs/demo/main/1/hello.stdout" {
		t.Errorf("stdout: %+v", st.Stdout)
	}
}
