// Package plan joins a recipe with the options of a run: values of vars and secrets, the rows of cases, which of them
// are run, how many at once. A Plan is plain data without a clock. Only the reader of rows touches files. Running a
// plan belongs in pkg/executor.
package plan

import (
	"time"

	"github.com/sbxrun/sbxrun/internal/expr"
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
	// Origin is where sandboxes come from that name nothing themselves, for people to see; empty: their recipe's.
	Origin string
}

// Plan is what to run. It is safe for concurrent use.
type Plan struct {
	Recipe  *recipe.Recipe
	Vars    map[string]any
	Secrets map[string]string // values by name; never shown
	Pool    recipe.Pool       // Size is at least 1
	Samples int               // of each case, at least 1
	Timeout time.Duration     // of one sample
	// Digest covers the recipe, its data files and vars: what --resume must find unchanged.
	Digest string
	// Cases is the number of cases to run, Total that of samples; known because data files are read through by Build.
	Cases, Total int

	limit  int // of cases; zero: all
	origin string
	source source
	choice choice
}

// Case is one row. Fields are what expressions see as case; they may share values with other cases and must not be
// changed.
type Case struct {
	ID     string
	Number int // of the row, from 1, before where, filter and shard
	Fields map[string]any
}

// Env is what expressions of a sample see before its sandboxes are there: case, vars and run. Sample counts from 1.
func (p *Plan) Env(c Case, sample int, runID string) expr.Env {
	return expr.Env{"case": c.Fields, "vars": p.Vars, "run": map[string]any{"id": runID, "sample": sample}}
}
