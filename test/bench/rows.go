package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sbxrun/sbxrun/internal/bench/table"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
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

// tasks is many short tasks with few workers: each in a fresh sandbox, and in sandboxes that are reset.
func tasks(ctx context.Context, s *sides) ([]table.Row, error) {
	other, err := s.timeTasks(ctx, func(ctx context.Context, next func() (int, bool)) error {
		for n, ok := next(); ok; n, ok = next() {
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
	if err != nil {
		return nil, fmt.Errorf("the other side: %w", err)
	}
	fresh, err := s.timeTasks(ctx, func(ctx context.Context, next func() (int, bool)) error {
		for n, ok := next(); ok; n, ok = next() {
			sb, err := s.acquire(ctx, fmt.Sprint(n))
			if err != nil {
				return err
			}
			if err := errors.Join(ask(ctx, sb, fmt.Sprint(n)), sb.Release(ctx)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	reused, err := s.timeTasks(ctx, func(ctx context.Context, next func() (int, bool)) (err error) {
		sb, err := s.acquire(ctx, "reused")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, sb.Release(ctx)) }()
		for n, ok := next(); ok; n, ok = next() {
			if err := errors.Join(ask(ctx, sb, fmt.Sprint(n)), sb.(sandbox.Resettable).Reset(ctx)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%d tasks, %d workers", s.tasks, s.workers)
	return []table.Row{
		table.Against(name+", fresh sandboxes", fresh, other, 0),
		table.Against(name+", reuse: reset", reused, other, 0),
	}, nil
}

// timeTasks starts with a full pool and runs the workers until no task is left.
func (s *sides) timeTasks(ctx context.Context, work func(ctx context.Context, next func() (int, bool)) error) (time.Duration, error) {
	if err := s.full(ctx); err != nil {
		return 0, err
	}
	queue := make(chan int, s.tasks)
	for n := range s.tasks {
		queue <- n
	}
	close(queue)
	next := func() (int, bool) { n, ok := <-queue; return n, ok }
	start := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for range s.workers {
		g.Go(func() error { return work(ctx, next) })
	}
	err := g.Wait()
	return time.Since(start), err
}
