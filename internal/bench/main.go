// Command bench measures sbxrun's budgets of time and memory: each beside its other side, in the same run, in turns
// (A B A B), so that a busy machine slows both. It prints medians, their ratio and whether that is within the budget.
// It is what `make bench` runs. Timings are asserted nowhere else.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"time"

	"github.com/sbxrun/sbxrun/internal/bench/table"
)

// Python is the interpreter on both sides: one by its absolute path, since a shim in PATH would be what is measured.
const python = "/usr/bin/python3"

// harness is what the benchmarks share.
type harness struct {
	dir    string // of this run, temporary
	binary string // the sbxrun that is measured
	scale  int    // rounds are divided by it
}

// rounds returns n, or fewer where the run is to be quick.
func (h *harness) rounds(n int) int { return max(3, n/h.scale) }

var benchmarks = []struct {
	name string
	run  func(context.Context, *harness) ([]table.Row, error)
}{
	{"hello", hello},
	{"create", create},
	{"exec", execTrue},
	{"python", pythonPrograms},
	{"noop", noop},
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == noopCommand {
		if err := noopChild(context.Background(), os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	strict := flag.Bool("strict", false, "exit with status 1 if a budget is missed")
	quick := flag.Bool("quick", false, "a fifth of the rounds")
	only := flag.String("only", ".", "run the benchmarks whose name matches this `regexp`: hello, create, exec, python, noop")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	missed, err := run(ctx, *only, *quick)
	stop()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	case missed > 0 && *strict:
		os.Exit(1)
	}
}

// run runs the benchmarks and prints a table. It returns how many budgets were missed; an error is one that could not
// be measured.
func run(ctx context.Context, only string, quick bool) (missed int, err error) {
	chosen, err := regexp.Compile(only)
	if err != nil {
		return 0, fmt.Errorf("-only: %w", err)
	}
	h := &harness{scale: 1}
	if quick {
		h.scale = 5
	}
	if h.dir, err = os.MkdirTemp("", "sbxrun-bench-"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(h.dir)) }()
	if err := h.build(ctx); err != nil {
		return 0, err
	}
	start := time.Now()
	table.Head(os.Stdout)
	var notes []string
	for _, b := range benchmarks {
		if !chosen.MatchString(b.name) {
			continue
		}
		rows, failed := b.run(ctx, h)
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", b.name, failed))
			continue
		}
		for _, r := range rows {
			r.Print(os.Stdout)
			if r.Over {
				missed++
			}
			if r.Note != "" {
				notes = append(notes, fmt.Sprintf("%s, other side:\n  %s", r.Name, r.Note))
			}
		}
	}
	if len(notes) > 0 {
		fmt.Println("\n" + strings.Join(notes, "\n"))
	}
	fmt.Printf("\nmedians, in turns with the other side; %.0f s in all\n", time.Since(start).Seconds())
	return missed, err
}
