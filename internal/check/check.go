// Package check holds a step's expectations against what its command left behind, and the gates against a finished
// run. It says everything that does not hold, in words for people, with the place in the recipe, and collects what
// --update would write into golden files. Streams are compared as they are read: only what needs a whole text
// (normalisation, json, expressions) loads one, up to MaxText. How output is kept and how files leave a sandbox
// belongs in the executor.
package check

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/internal/mask"
	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// Outcome is what a step's command left behind.
type Outcome struct {
	// Exit is the exit status, 128+Signal after a signal.
	Exit, Signal int
	// Limit is the limit that struck: timeout, output, oom, pids or disk; signal where the sandbox itself was killed;
	// else empty.
	Limit event.Reason
	// LimitText says for people what struck, such as "it still ran when the sample's timeout of 1h was over"; empty: a general text.
	LimitText string
	// Stopped is true where sbxrun ended the command (a background step): its exit status says nothing then.
	Stopped bool
	// Duration is the wall time of the command.
	Duration time.Duration
	// Stdout and Stderr are the output, masked; nil is none.
	Stdout, Stderr Source
	// Fetch gets files for expect.files and file(); nil where the recipe's step uses neither.
	Fetch Fetch
	// Golden says whether the file beside the recipe to which a golden file's name comes may be used, by who has a say in the
	// name; nil: any.
	Golden func(name *expr.Template, path string) error
	// Mask has the secrets that are masked in the outcome. They are masked in all that it is compared with too, so that
	// what is equal stays so, and no finding, which cuts, quotes and aligns texts, has a secret.
	Mask *mask.Mask
}

// Report says what of a step's expectations does not hold.
type Report struct {
	// Reason is empty where all hold. Else it is the first that applies of: the limit or signal that struck,
	// exit_code, assertion.
	Reason event.Reason
	// Message is the first line of the finding that decided Reason.
	Message string
	// Findings has all that does not hold, what decided Reason first.
	Findings []event.Finding
	// Golden is what the step says about golden files, to be given to Updates; only with update and an empty Reason.
	Golden []Update
}

// Step checks every expectation of step. dir is the recipe's folder. env has what expressions may use apart from the
// outcome itself, which Step adds. With update, a golden file that differs counts as holding where all else holds.
// An error is the context's, Fetch's, or that of an output that cannot be read; it says nothing about the step.
func Step(ctx context.Context, step *recipe.Step, dir string, out Outcome, env expr.Env, update bool) (Report, error) {
	c := &checker{ctx: ctx, dir: dir, update: update, mask: out.Mask, base: env, mayUse: out.Golden}
	if get := out.Fetch; get != nil {
		// An expression's file() that meets a lost sandbox says nothing about the code under test.
		out.Fetch = func(ctx context.Context, paths []string) (map[string]Fetched, error) {
			files, err := get(ctx, paths)
			c.lost = cmp.Or(c.lost, err)
			return files, err
		}
	}
	c.env = out.Env(ctx, env)
	err := c.step(step, out)
	if err = cmp.Or(err, c.lost); err != nil {
		return Report{}, err
	}
	r := Report{Reason: c.reason, Findings: append(c.struck, c.findings...)}
	if len(r.Findings) == 0 {
		if update {
			r.Golden = c.updates
		}
		return r, nil
	}
	if r.Reason == "" {
		r.Reason = event.ReasonAssertion
	}
	r.Message = firstLine(r.Findings[0].Message)
	return r, nil
}

// checker is the state of one call of Step.
type checker struct {
	ctx    context.Context
	dir    string
	mask   *mask.Mask
	base   expr.Env // what the recipe's values see: exact, for paths
	env    expr.Env // what conditions see
	update bool
	mayUse func(name *expr.Template, path string) error // nil: any golden file

	lost     error // of Fetch
	reason   event.Reason
	struck   []event.Finding // limits, signals, exit status: they come first
	findings []event.Finding // assertions
	golden   []event.Finding // golden files that differ: findings, unless update takes them
	updates  []Update
}

func (c *checker) step(step *recipe.Step, out Outcome) error {
	files, err := c.fetch(step.Expect.Files, out.Fetch)
	if err != nil {
		return err
	}
	release, err := c.admit(out, files)
	if err != nil {
		return err
	}
	defer release()

	if t := step.Expect.Stdout; t != nil {
		if err := c.text(&subject{name: "stdout", what: "stdout", src: orEmpty(out.Stdout)}, t); err != nil {
			return err
		}
	}
	if t := step.Expect.Stderr; t != nil {
		if err := c.text(&subject{name: "stderr", what: "stderr", src: orEmpty(out.Stderr)}, t); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := c.file(f); err != nil {
			return err
		}
	}
	c.that(step.Expect.That, out)
	c.status(&step.Expect.Exit, out)
	if !c.update || len(c.struck)+len(c.findings) > 0 {
		c.findings = append(c.findings, c.golden...)
	}
	return context.Cause(c.ctx)
}

// found notes an expectation that does not hold. Names, patterns and paths in its texts may be the output of a step.
func (c *checker) found(pos recipe.Pos, expect, diff, format string, args ...any) {
	c.findings = append(c.findings, event.Finding{
		Expect: event.Cut(expect, maxExpect), Message: event.Cut(fmt.Sprintf(format, args...), maxMessage), Diff: diff, Line: pos.Line,
	})
}

// Most bytes of a finding's texts: enough for people, and little beside what a line of the event log may have.
const (
	maxExpect  = 1 << 10
	maxMessage = 16 << 10
)

// heavy is the size of a text from which on it waits for one of the places of admit.
const heavy = 1 << 20

// places bounds how many steps with large texts are checked at once: more than there are processors would take memory
// and save no time.
var places = make(chan struct{}, runtime.GOMAXPROCS(0))

// admit waits for a place if the outcome has a large text.
func (c *checker) admit(out Outcome, files []fetched) (release func(), err error) {
	largest := max(orEmpty(out.Stdout).Size(), orEmpty(out.Stderr).Size())
	for _, f := range files {
		if f.found && f.Content != nil {
			largest = max(largest, f.Content.Size())
		}
	}
	if largest < heavy {
		return func() {}, nil
	}
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-c.ctx.Done():
		return nil, context.Cause(c.ctx)
	}
}
