package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sbxrun/sbxrun/internal/bench/table"
	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/executor"
	"github.com/sbxrun/sbxrun/pkg/plan"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// firstOutput is from the claim of a warm sandbox to the output of its first command, without its end.
func firstOutput(ctx context.Context, s *sides) ([]table.Row, error) {
	got, other, err := table.Alternate(ctx, s.rounds,
		func() (d time.Duration, err error) {
			if err := s.full(ctx); err != nil {
				return 0, err
			}
			start := time.Now()
			sb, err := s.acquire(ctx, "first")
			if err != nil {
				return 0, err
			}
			err = ask(ctx, sb, "hello")
			d = time.Since(start)
			return d, errors.Join(err, sb.Release(ctx))
		},
		func() (d time.Duration, err error) {
			if err := s.full(ctx); err != nil {
				return 0, err
			}
			start := time.Now()
			sb, err := s.theirs.CreateSandbox(ctx, s.pool, s.namespace)
			if err != nil {
				return 0, err
			}
			err = askTheirs(ctx, sb, "hello")
			d = time.Since(start)
			return d, errors.Join(err, sb.Close(ctx))
		})
	return []table.Row{table.Against("claim to first output, warm", got, other, 0.9)}, err
}

// standing is a command in a sandbox that stands.
func standing(ctx context.Context, s *sides) (rows []table.Row, err error) {
	if err := s.full(ctx); err != nil {
		return nil, err
	}
	ours, err := s.acquire(ctx, "standing")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ours.Release(ctx)) }()
	theirs, err := s.theirs.CreateSandbox(ctx, s.pool, s.namespace)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, theirs.Close(ctx)) }()
	got, other, err := table.Alternate(ctx, 3*s.rounds,
		table.Timed(func() error { return ask(ctx, ours, "again") }),
		table.Timed(func() error { return askTheirs(ctx, theirs, "again") }))
	return []table.Row{table.Against("echo in a sandbox that stands", got, other, 0)}, err
}

// tasks is many short tasks with few workers: as a recipe, with fresh sandboxes and with ones that are reset, beside a loop in
// each worker, which is how the other client is used.
func tasks(ctx context.Context, s *sides) ([]table.Row, error) {
	other, err := s.timed(ctx, s.loops)
	if err != nil {
		return nil, fmt.Errorf("the other side: %w", err)
	}
	name := fmt.Sprintf("%d tasks, %d workers", s.tasks, s.workers)
	var rows []table.Row
	for _, row := range []struct{ title, reuse string }{{", fresh sandboxes", "never"}, {", reuse: reset", "reset"}} {
		got, err := s.timed(ctx, func(ctx context.Context) error { return s.recipe(ctx, row.reuse) })
		if err != nil {
			return rows, err
		}
		rows = append(rows, table.Against(name+row.title, got, other, 0))
	}
	return rows, nil
}

// timed starts with a full pool.
func (s *sides) timed(ctx context.Context, f func(context.Context) error) (time.Duration, error) {
	if err := s.full(ctx); err != nil {
		return 0, err
	}
	return table.Timed(func() error { return f(ctx) })()
}

// loops has each worker create a sandbox, run a task in it and close it, until no task is left.
func (s *sides) loops(ctx context.Context) error {
	queue := make(chan int, s.tasks)
	for n := range s.tasks {
		queue <- n
	}
	close(queue)
	g, ctx := errgroup.WithContext(ctx)
	for range s.workers {
		g.Go(func() error {
			for n := range queue {
				sb, err := s.theirs.CreateSandbox(ctx, s.pool, s.namespace)
				if err != nil {
					return err
				}
				if err := errors.Join(askTheirs(ctx, sb, fmt.Sprint(n)), sb.Close(ctx)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// recipe runs the tasks as the cases of a recipe, whose pool has the size of the workers.
func (s *sides) recipe(ctx context.Context, reuse string) error {
	source := fmt.Sprintf(`
version: 1
name: tasks
pool: {size: %d, reuse: %s}
cases: {file: tasks.jsonl}
steps: [{name: task, argv: [echo, "${{ case.n }}"], expect: {stdout: "${{ case.n }}"}}]
`, s.workers, reuse)
	dir, err := os.MkdirTemp(s.dir, "tasks-")
	if err != nil {
		return err
	}
	var rows strings.Builder
	for n := range s.tasks {
		fmt.Fprintf(&rows, "{\"n\": %d}\n", n)
	}
	if err := os.WriteFile(filepath.Join(dir, "tasks.jsonl"), []byte(rows.String()), 0o600); err != nil {
		return err
	}
	r, err := recipe.Parse(filepath.Join(dir, "tasks.yaml"), []byte(source))
	if err != nil {
		return err
	}
	p, err := plan.Build(ctx, r, plan.Options{})
	if err != nil {
		return err
	}
	var passed atomic.Int64
	var other atomic.Value
	sink := event.SinkFunc(func(e event.Event) error {
		switch {
		case e.Type != event.TypeSampleEnd:
		case e.SampleEnd.Verdict == event.Passed:
			passed.Add(1)
		default:
			other.Store(e.SampleEnd.Message)
		}
		return nil
	})
	result, err := executor.Run(ctx, p, executor.Options{Provider: s.ours, Sink: sink, RunID: "tasks", Dir: dir})
	if err != nil {
		return err
	}
	if n := passed.Load(); n != int64(s.tasks) || len(result.Left) > 0 {
		return fmt.Errorf("%d of %d tasks passed, %d sandboxes left: %v", n, s.tasks, len(result.Left), other.Load())
	}
	return nil
}
