package report

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// All reports of a hundred thousand samples take little more memory than those of a few: 16 bytes for each, and what
// is bounded.
func TestMemoryIsFlat(t *testing.T) {
	const samples = 100_000
	dir := t.TempDir()
	writeBigLog(t, filepath.Join(dir, "events.jsonl"), samples)
	peak := peakMemory(t, func() {
		l := open(t, dir)
		for _, write := range []func(io.Writer) error{
			func(w io.Writer) error { return JUnit(w, l, dir) },
			func(w io.Writer) error { return JSON(w, l.Report()) },
			func(w io.Writer) error { return ResultLines(w, l, dir) },
			func(w io.Writer) error { return NewConsole(ConsoleOptions{Out: w}).Show(l) },
		} {
			if err := write(io.Discard); err != nil {
				t.Fatal(err)
			}
		}
		if r := l.Report(); r.Totals.Total != samples || r.Totals.Failed != samples/10 || !r.Complete {
			t.Errorf("%+v", r.Totals)
		}
	})
	t.Logf("peak %d KiB", peak>>10)
	if peak > 16<<20 {
		t.Errorf("peak of %d bytes for %d samples", peak, samples)
	}
}

func writeBigLog(t *testing.T, path string, samples int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	fmt.Fprintln(w, runStart)
	fmt.Fprintf(w, `{"type":"recipe.start","recipe":"r","recipe_start":{"file":"r.yaml","has_cases":true,"total":%d}}`+"\n", samples)
	for i := range samples {
		verdict, rest := "passed", ""
		if i%10 == 0 {
			verdict, rest = "failed", fmt.Sprintf(`,"reason":"assertion","message":"cause %c%c of %d"`, 'a'+i%26, 'a'+i/26%26, i)
		}
		fmt.Fprintf(w, `{"type":"step.end","recipe":"r","case":"case-%d","sample":1,"step":{"name":"s","verdict":%q,"tries":1,"duration":%d,"stdout":{"path":"logs/x","size":1000,"head":"%0100d"}%s}}`+"\n", i, verdict, i*1000, i, rest)
		fmt.Fprintf(w, `{"type":"sample.end","recipe":"r","case":"case-%d","sample":1,"sample_end":{"verdict":%q,"duration":%d,"steps":[{"name":"s","captures":{"n":%d}}]%s}}`+"\n", i, verdict, i, i, rest)
	}
	fmt.Fprintln(w, `{"type":"run.end","run_end":{"exit":1}}`)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}

// peakMemory is the most that was alive while f ran, beyond what was before.
func peakMemory(t *testing.T, f func()) uint64 {
	t.Helper()
	live := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := live()
	var peak uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
				peak = max(peak, live())
			}
		}
	}()
	f()
	close(stop)
	<-stopped
	return max(peak, before) - before
}

// Sinks take an event in a few microseconds.
func BenchmarkSinks(b *testing.B) {
	e := event.Event{Time: time.Now(), Type: event.TypeSampleEnd, Recipe: "r", Case: "case-1", Sample: 1, SampleEnd: &event.Sample{
		Verdict: event.Passed, Duration: 0.1, Phases: map[string]float64{"acquire": 0.01, "run": 0.02},
		Steps: []event.StepResult{{Name: "s", ID: "s", Verdict: event.Passed, Duration: 0.1, Tries: 1}},
	}}
	log, err := OpenEventLog(filepath.Join(b.TempDir(), "events.jsonl"))
	if err != nil {
		b.Fatal(err)
	}
	results, err := OpenResults(filepath.Join(b.TempDir(), "results.jsonl"))
	if err != nil {
		b.Fatal(err)
	}
	for name, sink := range map[string]event.Sink{
		"log": log, "results": results, "summary": &event.Summary{}, "console": newConsole(ConsoleOptions{Out: io.Discard}),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := sink.Send(e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	log.Close()
	results.Close()
}
