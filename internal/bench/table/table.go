// Package table is what all benchmarks share: two sides measured in turns, and a line for each figure with the other
// side's, their ratio and the budget. What is measured belongs in the commands that import it.
package table

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Row is one line of the result.
type Row struct {
	Name   string
	Got    string // sbxrun's figure
	Other  string // the other side's
	Ratio  string
	Budget string // empty: a figure without one
	Over   bool
	Note   string // the command line, or the calls, of the other side
}

const format = "%-52s %11s %11s %7s %10s  %s\n"

// Head writes the titles of the columns.
func Head(w io.Writer) { fmt.Fprintf(w, format, "", "sbxrun", "other", "ratio", "budget", "") }

// Print writes one row, and OVER where its budget is missed.
func (r Row) Print(w io.Writer) {
	verdict := "OK"
	switch {
	case r.Over:
		verdict = "OVER"
	case r.Budget == "":
		verdict = ""
	}
	fmt.Fprintf(w, format, r.Name, r.Got, r.Other, r.Ratio, r.Budget, verdict)
}

// Against is the row of two times and the ratio that they may have; zero: any.
func Against(name string, got, other time.Duration, budget float64) Row {
	ratio := float64(got) / float64(other)
	r := Row{Name: name, Got: Millis(got), Other: Millis(other), Ratio: fmt.Sprintf("%.2fx", ratio)}
	if budget > 0 {
		r.Budget, r.Over = fmt.Sprintf("%.2fx", budget), ratio > budget
	}
	return r
}

// Alternate runs a and b in turns, n times each after one that does not count, and returns their median times.
func Alternate(ctx context.Context, n int, a, b func() (time.Duration, error)) (ma, mb time.Duration, err error) {
	var as, bs []time.Duration
	for i := range n + 1 {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		ta, err := a()
		if err != nil {
			return 0, 0, err
		}
		tb, err := b()
		if err != nil {
			return 0, 0, fmt.Errorf("the other side: %w", err)
		}
		if i > 0 {
			as, bs = append(as, ta), append(bs, tb)
		}
	}
	return Median(as), Median(bs), nil
}

// Timed makes of f a function that returns how long it took.
func Timed(f func() error) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		start := time.Now()
		err := f()
		return time.Since(start), err
	}
}

// Median sorts v and returns the one in the middle.
func Median[T int64 | float64 | time.Duration](v []T) T {
	slices.Sort(v)
	return v[len(v)/2]
}

// Millis writes d in milliseconds.
func Millis(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}

// Quoted writes a command line as one would type it.
func Quoted(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		if words[i] = a; a == "" || strings.ContainsAny(a, " \t\n'\"\\$*?<>|&;()") {
			words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
