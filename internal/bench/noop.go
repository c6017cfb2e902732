package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sbxrun/sbxrun/internal/report"
	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/executor"
	"github.com/sbxrun/sbxrun/pkg/plan"
	"github.com/sbxrun/sbxrun/pkg/recipe"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest/fake"

	"github.com/sbxrun/sbxrun/internal/bench/table"
)

const (
	noopCases   = 100_000
	noopCommand = "noop-child" // the argument that makes this program the process that is measured
)

const noopRecipe = `version: 1
name: noop
cases: {file: rows.jsonl}
steps:
  - argv: ["true"]
`

// noopResult is what the measured process says of itself.
type noopResult struct {
	Seconds float64
	Peak    int64 // resident set, bytes
}

// noop measures what sbxrun itself costs: cases that do nothing, on the fake provider, with all that a run writes while
// it goes on. A process of its own runs them, so that the peak of memory is theirs.
func noop(ctx context.Context, h *harness) ([]table.Row, error) {
	dir := filepath.Join(h.dir, "noop")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var rows bytes.Buffer
	for i := range noopCases {
		fmt.Fprintf(&rows, "{\"id\": \"case-%06d\"}\n", i)
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "rows.jsonl"), rows.Bytes(), 0o644),
		os.WriteFile(filepath.Join(dir, "recipe.yaml"), []byte(noopRecipe), 0o644),
	); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var rates []float64
	var peak int64
	for i := range h.rounds(3) {
		out := filepath.Join(dir, strconv.Itoa(i))
		if err := os.Mkdir(out, 0o755); err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, self, noopCommand, filepath.Join(dir, "recipe.yaml"), out)
		cmd.Stderr = os.Stderr
		text, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("run %d cases: %w", noopCases, err)
		}
		var r noopResult
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, err
		}
		rates = append(rates, noopCases/r.Seconds)
		peak = max(peak, r.Peak)
	}
	rate := table.Median(rates)
	return []table.Row{
		{Name: "no-op cases on the fake provider", Got: fmt.Sprintf("%.0f/s", rate), Other: "-", Ratio: "-", Budget: "20000/s", Over: rate < 20_000},
		{Name: fmt.Sprintf("peak memory of %d of them", noopCases), Got: fmt.Sprintf("%d MiB", peak>>20), Other: "-", Ratio: "-", Budget: "100 MiB", Over: peak > 100<<20},
	}, nil
}

// noopChild runs the recipe on the fake provider, writing to dir, and prints a noopResult.
func noopChild(ctx context.Context, path, dir string) (err error) {
	start := time.Now()
	r, err := recipe.Load(path)
	if err != nil {
		return err
	}
	p, err := plan.Build(ctx, r, plan.Options{DefaultJobs: 2})
	if err != nil {
		return err
	}
	provider, err := fake.Open(ctx, fake.Options{Run: sandbox.Run{ID: "bench", Dir: dir, Size: p.Pool.Size}})
	if err != nil {
		return err
	}
	log, err := report.OpenEventLog(filepath.Join(dir, "events.jsonl"))
	if err != nil {
		return err
	}
	results, err := report.OpenResults(filepath.Join(dir, "results.jsonl"))
	if err != nil {
		return err
	}
	var summary event.Summary
	_, err = executor.Run(ctx, p, executor.Options{
		Provider: provider, Sink: event.Tee(log, results, &summary), RunID: "bench", Dir: dir,
	})
	if err := errors.Join(err, provider.Close(ctx), log.Close(), results.Close()); err != nil {
		return err
	}
	if c := summary.Recipe(r.Name); c.Passed != noopCases {
		return fmt.Errorf("%d of %d cases passed", c.Passed, noopCases)
	}
	peak, err := peakMemory()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(noopResult{Seconds: time.Since(start).Seconds(), Peak: peak})
}

// peakMemory returns the largest resident set that this process had, in bytes: VmHWM of proc_pid_status(5).
func peakMemory() (int64, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(text, "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("/proc/self/status tells no VmHWM")
}
