// Package plan joins a recipe with the options of a run: values of vars and secrets, the rows of cases, which of them
// are run, how many at once. A Plan is plain data without a clock. Only the reader of rows touches files. Running a
// plan belongs in pkg/executor.
package plan

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// ErrNoCases is wrapped by the error of Build when no case is left to run. An empty shard is no error.
var ErrNoCases = errors.New("no case is left to run")

// Error is a mistake in what the plan is made from: the command line, the recipe, a data file. Nothing was started.
type Error struct {
	File    string     // the recipe or a data file; empty: the command line
	Pos     recipe.Pos // zero: not known
	Message string
	Err     error // what it wraps, or nil
}

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
	// Cases is the number of cases to run, Total that of samples; known because data files are read through by Build.
	Cases, Total int

	opts Options
}

// Case is one row. Fields are what expressions see as case.
type Case struct {
	ID     string
	Number int // of the row, from 1, before where, filter and shard
	Fields map[string]any
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return e.Err }

// Build makes the plan. Data files are read through once. Errors that a user can mend are *Error.
func Build(ctx context.Context, r *recipe.Recipe, opts Options) (*Plan, error) { return nil, nil }

// Rows streams the cases to run, in the order of the data. It may be called again. An error ends the sequence: a data
// file that cannot be read or was changed since Build.
func (p *Plan) Rows(ctx context.Context) iter.Seq2[Case, error] { return nil }

// Env is what expressions of a sample see before its sandboxes are there: case, vars and run. Sample counts from 1.
func (p *Plan) Env(c Case, sample int, runID string) expr.Env { return nil }

// SandboxSpec evaluates a sandbox of the recipe. Group and Labels are left to the caller.
func (p *Plan) SandboxSpec(sb recipe.Sandbox, env expr.Env) (sandbox.Spec, error) {
	return sandbox.Spec{}, nil
}

// Duration evaluates a duration: a Go duration ("1h30m") or a number of seconds. A nil v is def.
func Duration(v *expr.Value, env expr.Env, def time.Duration) (time.Duration, error) { return 0, nil }

// JSON writes the plan for programs.
func (p *Plan) JSON(ctx context.Context, w io.Writer) error { return nil }

// Text writes the plan for people.
func (p *Plan) Text(ctx context.Context, w io.Writer) error { return nil }
