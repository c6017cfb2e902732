package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// alternate runs a and b in turns, n times each after one that does not count, and returns their median times.
func alternate(ctx context.Context, n int, a, b func() error) (ma, mb time.Duration, err error) {
	var as, bs []time.Duration
	for i := range n + 1 {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		ta, err := timed(a)
		if err != nil {
			return 0, 0, err
		}
		tb, err := timed(b)
		if err != nil {
			return 0, 0, fmt.Errorf("the other side: %w", err)
		}
		if i > 0 {
			as, bs = append(as, ta), append(bs, tb)
		}
	}
	return median(as), median(bs), nil
}

func timed(f func() error) (time.Duration, error) {
	start := time.Now()
	err := f()
	return time.Since(start), err
}

func median[T int64 | float64 | time.Duration](v []T) T {
	slices.Sort(v)
	return v[len(v)/2]
}

// against is the row of two times and the ratio that they may have.
func against(name string, got, other time.Duration, budget float64, note []string) row {
	ratio := float64(got) / float64(other)
	return row{
		name: name, got: millis(got), other: millis(other), ratio: fmt.Sprintf("%.2fx", ratio),
		budget: fmt.Sprintf("%.2fx", budget), over: ratio > budget, note: quoted(note),
	}
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}

// quoted writes a command line as one would type it.
func quoted(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		if words[i] = a; a == "" || strings.ContainsAny(a, " \t\n'\"\\$*?<>|&;()") {
			words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// command returns a function that runs argv and takes its output, to tell it if that fails.
func command(ctx context.Context, argv ...string) func() error {
	return func() error {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		var output bytes.Buffer
		cmd.Stdout, cmd.Stderr = &output, &output
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w: %s", quoted(argv), err, bytes.TrimSpace(output.Bytes()))
		}
		return nil
	}
}

// silent is command without a pipe for what is written, which would cost more than /usr/bin/true itself.
func silent(argv ...string) func() error {
	return func() error {
		if err := exec.Command(argv[0], argv[1:]...).Run(); err != nil {
			return fmt.Errorf("%s: %w", quoted(argv), err)
		}
		return nil
	}
}
