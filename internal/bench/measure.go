package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/sbxrun/sbxrun/internal/bench/table"
)

// alternate runs a and b in turns, n times each, and returns their median times.
func alternate(ctx context.Context, n int, a, b func() error) (ma, mb time.Duration, err error) {
	return table.Alternate(ctx, n, table.Timed(a), table.Timed(b))
}

// against is the row of two times, with the command line of the other side.
func against(name string, got, other time.Duration, budget float64, note []string) table.Row {
	r := table.Against(name, got, other, budget)
	r.Note = table.Quoted(note)
	return r
}

// command returns a function that runs argv and takes its output, to tell it if that fails.
func command(ctx context.Context, argv ...string) func() error {
	return func() error {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		var output bytes.Buffer
		cmd.Stdout, cmd.Stderr = &output, &output
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w: %s", table.Quoted(argv), err, bytes.TrimSpace(output.Bytes()))
		}
		return nil
	}
}

// silent is command without a pipe for what is written, which would cost more than /usr/bin/true itself.
func silent(argv ...string) func() error {
	return func() error {
		if err := exec.Command(argv[0], argv[1:]...).Run(); err != nil {
			return fmt.Errorf("%s: %w", table.Quoted(argv), err)
		}
		return nil
	}
}
