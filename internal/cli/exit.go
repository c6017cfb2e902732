package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/executor"
	"github.com/sbxrun/sbxrun/pkg/plan"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// The exit statuses. When several apply, the order is interrupted, usage, infra, failed, ok.
const (
	exitOK          = 0
	exitFailed      = 1 // something failed, or a gate does not hold
	exitUsage       = 2 // bad usage or recipe; nothing was started
	exitInfra       = 3 // infrastructure errors, something was left, or a provider cannot give what is asked
	exitInterrupted = 130
)

// outcome is what the exit status of a run is made from.
type outcome struct {
	interrupted bool
	infra       bool // something could not be taken down, or the provider cannot give what is asked
	refused     bool // golden files could not be updated
	incomplete  bool // parts of the run are not there
	shard       bool // gates wait for the merging report
	summary     *event.Summary
}

// status is the exit status of a finished run, and of the merged logs of several.
func status(o outcome) int {
	infra, failed := o.infra || o.summary.Left > 0, o.refused || o.incomplete
	for _, r := range o.summary.Recipes {
		if r.Stopped == executor.StoppedMaxFailures || r.Stopped == executor.StoppedTimeout {
			failed = true // whatever the gates say of the samples that ran
		}
		if len(r.Start.Gates) > 0 {
			if !o.shard {
				failed = failed || !held(r.Gates)
			}
			continue
		}
		infra = infra || r.Errors > 0
		failed = failed || r.Failed > 0 || r.NotRun > 0
	}
	switch {
	case o.interrupted:
		return exitInterrupted
	case infra:
		return exitInfra
	case failed:
		return exitFailed
	}
	return exitOK
}

func held(gates []event.GateResult) bool {
	for _, g := range gates {
		if !g.Held {
			return false
		}
	}
	return true
}

// ended ends a command whose work is done with a status, after saying what else went wrong.
func ended(std stdio, code int, err error) error {
	if err != nil {
		fmt.Fprintln(std.err, "sbxrun:", err)
		if code == exitOK || code == exitFailed {
			code = statusOf(err)
		}
	}
	if code == exitOK {
		return nil
	}
	return exitError(code)
}

// exitError ends a command with a status. What there was to say has been said.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// explain says what went wrong, if anything, and returns the exit status.
func explain(std stdio, cmd *cobra.Command, err error) int {
	if err == nil {
		return exitOK
	}
	if code, ok := errors.AsType[exitError](err); ok {
		return int(code)
	}
	name := "sbxrun"
	if cmd != nil {
		name = cmd.CommandPath()
	}
	if bad, ok := errors.AsType[*badRecipes](err); ok {
		for _, e := range bad.errs {
			if usage, ok := errors.AsType[*usageError](e); ok {
				e = fmt.Errorf("%s: %w", name, usage)
			}
			fmt.Fprintln(std.err, e)
		}
		return exitUsage
	}
	fmt.Fprintf(std.err, "%s: %v\n", name, err)
	return statusOf(err)
}

// statusOf is the exit status of an error that kept a command from its work.
func statusOf(err error) int {
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*plan.Error](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[recipe.Diagnostics](err); ok {
		return exitUsage
	}
	return exitInfra
}
