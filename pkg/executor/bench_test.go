package executor_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/executor"
	"github.com/sbxrun/sbxrun/pkg/plan"
	"github.com/sbxrun/sbxrun/pkg/recipe"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest/fake"
)

// BenchmarkNoop runs no-op cases on the fake provider, with every event written to a file by one call each. One
// iteration is one case.
func BenchmarkNoop(b *testing.B) {
	dir := b.TempDir()
	data, err := os.Create(filepath.Join(dir, "cases.jsonl"))
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriter(data)
	for i := range b.N {
		fmt.Fprintf(w, "{\"id\": \"case-%d\", \"n\": %d}\n", i, i)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	source := "version: 1\nname: noop\ncases: {file: cases.jsonl}\nsteps: [{name: noop, run: 'true'}]\n"
	r, err := recipe.Parse(filepath.Join(dir, "noop.yaml"), []byte(source))
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	provider, err := fake.Open(ctx, fake.Options{})
	if err != nil {
		b.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "events.jsonl"))
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	var mu sync.Mutex
	sink := event.SinkFunc(func(e event.Event) error {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		_, err = log.Write(append(line, '\n'))
		return err
	})
	b.ReportAllocs()
	b.ResetTimer()
	p, err := plan.Build(ctx, r, plan.Options{Jobs: runtime.GOMAXPROCS(0)})
	if err != nil {
		b.Fatal(err)
	}
	res, err := executor.Run(ctx, p, executor.Options{Provider: provider, Sink: sink, Dir: dir})
	if err != nil || res.Started != b.N || res.Failed != 0 {
		b.Fatalf("%+v, %v", res, err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "cases/s")
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.Sys)/(1<<20), "MiB")
}
