package event_test

import (
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sbxrun/sbxrun/pkg/event"
)

func ended(recipe string, s event.Sample) event.Event {
	return event.Event{Type: event.TypeSampleEnd, Recipe: recipe, Case: "c", Sample: 1, SampleEnd: &s}
}

func TestSummary(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	score := func(v any) []event.StepResult {
		return []event.StepResult{{Name: "run it", ID: "run_it", Captures: map[string]any{"score": v, "text": "x"}}}
	}
	var s event.Summary
	for i, e := range []event.Event{
		{Type: event.TypeRunStart, Run: &event.RunStart{ID: "1"}},
		{Type: event.TypeRecipeStart, Recipe: "a", RecipeStart: &event.RecipeStart{File: "a.yaml", Total: 9}},
		ended("a", event.Sample{Verdict: event.Passed, Duration: 1, Steps: score(0.5)}),
		ended("a", event.Sample{Verdict: event.Passed, Duration: 3, Flaky: true, Steps: score(1)}),
		ended("a", event.Sample{Verdict: event.Failed, Reason: event.ReasonExitCode, Duration: 2, Reused: true, Steps: score(nil)}),
		{Type: event.TypeInfraRetry, Recipe: "a", Case: "c", Sample: 1, SampleEnd: &event.Sample{Verdict: event.Error}},
		ended("a", event.Sample{Verdict: event.Error, Reason: event.ReasonLost, Duration: 100, Steps: score(7)}),
		ended("a", event.Sample{Verdict: event.Skipped}),
		ended("a", event.Sample{Verdict: event.NotRun}),
		{Type: event.TypeWarning, Message: "w"},
		{Type: event.TypeLeft, Message: "l"},
		{Type: event.TypeRecipeEnd, Recipe: "a", RecipeEnd: &event.RecipeEnd{Stopped: "max-failures", NotRun: 3}},
		{Type: event.TypeRecipeStart, Recipe: "b", RecipeStart: &event.RecipeStart{Total: 1}},
		ended("b", event.Sample{Verdict: event.Error, Reason: event.ReasonAcquire}),
		{Type: event.TypeRunEnd, RunEnd: &event.RunEnd{Exit: 3}},
	} {
		e.Time = at.Add(time.Duration(i) * time.Second)
		s.Add(e)
	}

	want := event.Counts{Total: 9, Passed: 2, Failed: 1, Errors: 1, Skipped: 1, NotRun: 4, Flaky: 1}
	a, b := s.Recipe("a"), s.Recipe("b")
	if diff := cmp.Diff(want, a.Counts); diff != "" {
		t.Errorf("counts of a (-want +got):\n%s", diff)
	}
	want.Total, want.Errors = 10, 2
	if diff := cmp.Diff(want, s.Counts); diff != "" {
		t.Errorf("counts of all (-want +got):\n%s", diff)
	}
	if rate, ok := a.PassRate(); !ok || rate != 2.0/3 {
		t.Errorf("pass rate %v, %v", rate, ok)
	}
	if rate, ok := a.ErrorRate(); !ok || rate != 0.25 {
		t.Errorf("error rate %v, %v", rate, ok)
	}
	if rate, ok := b.PassRate(); ok {
		t.Errorf("a pass rate of %v where nothing was scored", rate)
	}
	if p, ok := a.Duration(95); !ok || p != 3 {
		t.Errorf("95th percentile %v, %v: an error's duration counts?", p, ok)
	}
	// Null, text and what errors captured are left out.
	if diff := cmp.Diff(map[string]map[string]float64{"run_it": {"score": 0.75}}, a.Means()); diff != "" {
		t.Errorf("means (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[event.Reason]int{"exit_code": 1, "lost": 1}, a.Reasons); diff != "" {
		t.Error(diff)
	}
	if a.InfraRetries != 1 || a.Reused != 1 || a.Stopped != "max-failures" || !a.Ended || b.Ended {
		t.Errorf("%+v", a)
	}
	if s.Warnings != 1 || s.Left != 1 || len(s.Ends) != 1 || s.Ends[0].Exit != 3 || len(s.Recipes) != 2 || s.Last.Sub(s.Start) != 14*time.Second {
		t.Errorf("%+v", &s)
	}
	if s.Recipe("c") != nil {
		t.Error("a recipe that is not there")
	}
}

// Shards of one recipe are one recipe.
func TestSummaryOfShards(t *testing.T) {
	var s event.Summary
	for range 2 {
		s.Add(event.Event{Type: event.TypeRecipeStart, Recipe: "a", RecipeStart: &event.RecipeStart{Total: 5, Digest: "d"}})
		s.Add(ended("a", event.Sample{Verdict: event.Passed}))
	}
	if r := s.Recipe("a"); r.Start.Total != 10 || r.Passed != 2 || r.Start.Digest != "d" {
		t.Errorf("%+v", r)
	}
	s.Add(event.Event{Type: event.TypeRecipeStart, Recipe: "a", RecipeStart: &event.RecipeStart{Total: -1}})
	if r := s.Recipe("a"); r.Start.Total != -1 {
		t.Errorf("total %d, want not known", r.Start.Total)
	}
}

// A million samples from several goroutines take no more memory than a few.
func TestSummaryIsBounded(t *testing.T) {
	var s event.Summary
	sample := event.Sample{Verdict: event.Passed, Duration: 1, Steps: []event.StepResult{{Name: "s", Captures: map[string]any{"x": 1.0}}}}
	fill := func(n int) {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range n / 4 {
					s.Send(ended("a", sample))
				}
			})
		}
		wg.Wait()
	}
	fill(10_000)
	before := live()
	fill(1_000_000)
	if grown := int64(live()) - int64(before); grown > 100<<10 {
		t.Errorf("grew by %d bytes", grown)
	}
	if m := s.Recipe("a").Means()["s"]["x"]; m != 1 || s.Passed != 1_010_000 {
		t.Errorf("mean %v of %d samples", m, s.Passed)
	}
}

func live() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestQuantiles(t *testing.T) {
	var q event.Quantiles
	if q.Percentile(50) != 0 || q.Mean() != 0 {
		t.Error("nothing has a percentile")
	}
	for _, v := range []float64{5, 1, 4, 2, 3, math.NaN()} {
		q.Add(v)
	}
	for p, want := range map[float64]float64{0: 0, 50: 2, 51: 3, 100: 5, 200: 5, -1: 0} {
		if got := q.Percentile(p); got != want {
			t.Errorf("percentile %v of six values is %v, want %v", p, got, want)
		}
	}
	q = event.Quantiles{}
	r := rand.New(rand.NewPCG(1, 2))
	for _, i := range r.Perm(100_000) {
		q.Add(float64(i+1) / 1000)
	}
	for _, p := range []float64{1, 50, 90, 95, 99, 99.9} {
		if got := q.Percentile(p); math.Abs(got-p) > p/100 {
			t.Errorf("percentile %v of many values is %v", p, got)
		}
	}
	if q.Percentile(0) != 0.001 || q.Percentile(100) != 100 || q.N() != 100_000 {
		t.Errorf("from %v to %v of %d", q.Percentile(0), q.Percentile(100), q.N())
	}
}
