package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"

	"github.com/sbxrun/sbxrun/internal/bench/table"
)

// build makes the binary that is measured, as `make build` does.
func (h *harness) build(ctx context.Context) error {
	h.binary = filepath.Join(h.dir, "sbxrun")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", h.binary, "./cmd/sbxrun")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build sbxrun (run this at the top of the repository): %w\n%s", err, out)
	}
	return nil
}

// hello measures the first example from start to exit. It is mostly processes that start, which differs from machine to machine
// by more than the budget. The budget in milliseconds is for one where bwrap makes a sandbox, runs true and ends in 6.7 ms; so
// the same is measured beside that.
func hello(ctx context.Context, h *harness) ([]table.Row, error) {
	const (
		budget = 60 * time.Millisecond
		where  = 6700 * time.Microsecond // is what bwrap takes
	)
	var bwrap []string
	err := h.withLocal(ctx, func(p sandbox.Provider) (err error) {
		bwrap, err = bwrapTrue(ctx, p)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := filepath.Join(h.dir, "hello")
	got, other, err := alternate(ctx, h.rounds(40),
		command(ctx, h.binary, "run", "-q", "--out", out, "recipes/examples/hello.yaml"), silent(bwrap...))
	if err != nil {
		return nil, err
	}
	return []table.Row{
		{Name: "hello.yaml, whole process", Got: table.Millis(got), Other: "-", Ratio: "-", Budget: "60 ms", Over: got > budget},
		against("the same beside bwrap", got, other, float64(budget)/float64(where), bwrap),
	}, nil
}

// pythonPrograms measures 164 short programs, each in a fresh sandbox, two at a time.
func pythonPrograms(ctx context.Context, h *harness) ([]table.Row, error) {
	if _, err := os.Stat(python); err != nil {
		return nil, fmt.Errorf("both sides need an interpreter: %w", err)
	}
	dir := filepath.Join(h.dir, "python")
	list, err := writePrograms(dir)
	if err != nil {
		return nil, err
	}
	out := filepath.Join(h.dir, "python-run")
	bare := []string{"sh", "-c", "xargs -P2 -n1 " + python + " < " + list}
	got, other, err := alternate(ctx, h.rounds(7),
		command(ctx, h.binary, "run", "-q", "-j", "2", "--out", out, filepath.Join(dir, "recipe.yaml")),
		command(ctx, bare...))
	if err != nil {
		return nil, err
	}
	return []table.Row{against(fmt.Sprintf("%d Python programs, fresh sandboxes, 2 at a time", programs), got, other, 1.25, bare)}, nil
}
