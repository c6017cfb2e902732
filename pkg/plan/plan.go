// Package plan joins a recipe with the options of a run: values of vars and secrets, the rows of cases, which of them
// are run, how many at once. A Plan is plain data without a clock. Only the reader of rows touches files. Running a
// plan belongs in pkg/executor.
package plan

import (
	"context"
	"iter"
	"time"

	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// Options are what the command line says about what to run.
type Options struct {
	// Set overrides vars, as text; a value is read as YAML, so that n=3 is a number.
	Set map[string]string
	// LookupEnv finds the values of secrets; nil is os.LookupEnv.
	LookupEnv func(string) (string, bool)
	// Case is an RE2 expression that a case's id must match; empty is all.
	Case string
	// Shard I of N, from 1; zero N is no sharding.
	ShardIndex, ShardCount int
	// Jobs overrides pool.size; zero: the recipe's, else DefaultJobs.
	Jobs, DefaultJobs int
}

// Plan is what to run.
type Plan struct {
	Recipe  *recipe.Recipe
	Vars    map[string]any
	Secrets map[string]string // values by name; never shown
	Pool    recipe.Pool       // Size is at least 1
	// Digest covers the recipe, its data files and vars: what --resume must find unchanged.
	Digest string
	// Total is the number of samples, known because data files are read through by Build.
	Total int

	opts Options
}

// Case is one row. Fields are what expressions see as case.
type Case struct {
	ID     string
	Number int // of the row, from 1, before where, filter and shard
	Fields map[string]any
}

// The signatures that Build and Rows keep:
//
//	func Build(ctx context.Context, r *recipe.Recipe, opts Options) (*Plan, error)
//	func (p *Plan) Rows(ctx context.Context) iter.Seq2[Case, error]
var (
	_ context.Context
	_ iter.Seq2[Case, error]
	_ time.Duration
)
