// Package executor runs a plan on a provider of sandboxes: a pool of samples, the steps of each in their order, retries,
// time limits, files in and artifacts out, and teardown whatever happens. What it does it tells as events; verdicts are
// data in them, never errors. How a sandbox is made belongs in a provider, what a report looks like in
// internal/report, and what the exit status is in internal/cli.
package executor

import (
	"time"

	"github.com/sbxrun/sbxrun/internal/beneath"
	"github.com/sbxrun/sbxrun/internal/check"
	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/plan"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// DefaultInfraRetries is how often the command line has a sample repeated that ended in error.
const DefaultInfraRetries = 2

// Options are what Run needs beside the plan.
type Options struct {
	// Provider makes the sandboxes. Run releases all that it acquires and does not close the provider.
	Provider sandbox.Provider
	// Sink takes the events from recipe.start to recipe.end; its error stops the run.
	Sink event.Sink
	// RunID is run.id of expressions.
	RunID string
	// Dir is the run's folder, absolute and existing; logs/ and artifacts/ are made in it when there is something to
	// put there.
	Dir string
	// File is the recipe as reports name it; empty: as it was given.
	File string

	// MaxFailures stops starting samples once so many have failed; those that run are finished. Errors do not count
	// as failures. Zero: never.
	MaxFailures int
	// Followed says that other recipes are to run after this one: what stops with its last sample stops those.
	Followed bool
	// InfraRetries is how often a sample that ended in error is repeated, in new sandboxes, where it is certain that
	// its work may be repeated. Zero: never.
	InfraRetries int
	// Deadline is when the run's time is over, and Timeout the limit as the user gave it, which reasons name. What runs
	// then is timed out, nothing more is started. The zero Deadline is none.
	Deadline time.Time
	Timeout  time.Duration

	// Update collects what golden files should hold, instead of comparing with them; the caller writes it. nil: compare.
	Update *check.Updates
	// Gates judges the recipe's gates after its last sample has ended; nil: they are not judged (a shard).
	Gates func([]event.Gate) []event.GateResult

	// Exposed are the folders of this machine that sandboxes of the run can write to, or could: those of this recipe are added.
	// nil: those of no other recipe are.
	Exposed *beneath.Folders

	// Span is the run's, if it is traced; nil: it is not.
	Span Span

	// Hurry, once closed, makes an interrupted run (one whose context is cancelled) as fast as teardown allows: commands
	// are killed where they would have had ten seconds after a TERM. nil: never.
	Hurry <-chan struct{}
}

// Hold is how long Run may hold one sandbox of the plan: what lets sandboxes expire by themselves must not do so before.
func Hold(p *plan.Plan) time.Duration {
	return restLimit + p.Timeout + grace + termGrace + releaseTimeout
}

// Result is how a run of a plan ended, apart from what the events say.
type Result struct {
	Stopped string   // why not all samples ran: max-failures, timeout, interrupt, unsupported, error; empty: all did
	Started int      // samples that were started
	NotRun  int      // samples that were not
	Failed  int      // samples that ended as failed, for the MaxFailures of what comes next
	Left    []string // sandboxes whose release failed, by ID; the provider's Close tries again, and says what stays
}

// Values of Result.Stopped and RecipeEnd.Stopped.
const (
	StoppedMaxFailures = "max-failures"
	StoppedTimeout     = "timeout"
	StoppedInterrupt   = "interrupt"
	StoppedUnsupported = "unsupported" // the provider cannot give what is asked
	StoppedError       = "error"       // the sink, or the reader of rows, failed
)
