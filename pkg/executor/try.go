package executor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"github.com/sbxrun/sbxrun/internal/check"
	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/internal/mask"
	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/plan"
	"github.com/sbxrun/sbxrun/pkg/recipe"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// termGrace is how long a command has between TERM and KILL.
const termGrace = 10 * time.Second

// try is one try of a step.
type try struct {
	a      *attempt
	s      *step
	name   string
	number int
	budget budget
	span   Span // the step's
	box    *box
	env    environ
	stdout output
	stderr output
	fetch  *fetcher  // gets files that expectations and captures name
	stdin  io.Closer // nil: none
	rules  rules
}

func (a *attempt) newTry(s *step, name string, number int, rules rules, b budget, span Span) *try {
	t := &try{a: a, s: s, name: name, number: number, rules: rules, budget: b, span: span, box: a.boxes[s.box]}
	file := func(stream string) logFile {
		return logFile{dir: &a.logs, name: a.run.mask.Text(name), place: s.index + 1, try: number, stream: stream}
	}
	t.stdout = output{log: file("stdout"), mask: mask.Stream{Mask: a.run.mask}}
	t.stderr = output{log: file("stderr"), mask: mask.Stream{Mask: a.run.mask}}
	return t
}

// run stages files, runs the command and judges it. A background step is left running once it is ready.
func (t *try) run() (o outcome, running bool) {
	var err error
	if t.env, err = t.a.run.envs.step(t.s, t.a.names.get); err != nil {
		return failed(event.ReasonAssertion, "%v", err), false
	}
	if t.rules.err != nil {
		return failed(event.ReasonAssertion, "%v", t.rules.err), false
	}
	if o := t.stage(); o.verdict != event.Passed {
		return o, false
	}
	cmd, own, err := t.command()
	if err != nil {
		if a, ok := errors.AsType[*artifactError](err); ok {
			return failed(a.reason, "%v", err), false
		}
		if missing, ok := errors.AsType[*missingError](err); ok {
			return broken(event.ReasonStage, "stdin.file", missing), false
		}
		return failed(event.ReasonAssertion, "%v", err), false
	}
	if t.s.Background {
		return t.runInBackground(cmd, own)
	}
	now := time.Now()
	limit := t.budget.soonest(now, own)
	if cmd.Timeout = limit.left(now); cmd.Timeout < 0 {
		return timedOut(limit, "it was not started"), false
	}
	cmd.Stop, cmd.Grace = t.a.run.soft.Done(), termGrace
	res, err := t.box.exec(t.span.In(t.a.run.hard), cmd, &t.stdout, &t.stderr)
	return t.judge(res, err, limit, false), false
}

// envFor is what a value needs to be evaluated: nothing where there are no expressions in it.
func envFor(v *expr.Value, names func() expr.Env) expr.Env {
	if v.IsLiteral() {
		return nil
	}
	return names()
}

// timedOut is the outcome of what a limit of time ended.
func timedOut(limit bound, what string) outcome {
	o := failed(event.ReasonTimeout, "%s when %v was over", what, limit)
	o.overall, o.cutShort = limit.outer(), limit.ofRun()
	return o
}

// command interpolates the command. own is the step's own time limit, zero for none.
func (t *try) command() (cmd sandbox.Command, own time.Duration, err error) {
	s, names := t.s, t.env.names
	fail := func(key string, err error) (sandbox.Command, time.Duration, error) {
		return sandbox.Command{}, 0, fmt.Errorf("%s: %w", key, err)
	}
	cmd.Env = t.env.vars
	cmd.OutputLimit = t.box.spec.Limits.WithDefaults().Output
	if s.Run != nil {
		script, err := shellText(s.Run, names)
		if err != nil {
			return fail("run", err)
		}
		cmd.Argv, cmd.Script = s.Shell, []byte(script)
		if script == "" {
			cmd.Script = []byte("\n") // an empty one would leave out the script's path
		}
	}
	for i, arg := range s.Argv {
		words, err := words(arg, names)
		if err != nil {
			return fail(fmt.Sprintf("argv[%d]", i), err)
		}
		cmd.Argv = append(cmd.Argv, words...)
	}
	if len(cmd.Argv) == 0 {
		return fail("argv", errors.New("it is empty, so there is nothing to run"))
	}
	if cmd.Dir, err = text(s.Dir, names); err != nil {
		return fail("dir", err)
	}
	if s.Timeout != nil {
		if own, err = plan.Duration(s.Timeout, envFor(s.Timeout, names)); err != nil {
			return fail("timeout", err)
		}
	}
	switch {
	case s.StdinFile != nil:
		f, err := t.openStdin()
		if err != nil {
			return fail("stdin.file", err)
		}
		cmd.Stdin, t.stdin = f, f
	case s.Stdin != nil:
		in, err := text(s.Stdin, names)
		if err != nil {
			return fail("stdin", err)
		}
		cmd.Stdin = strings.NewReader(in)
	}
	return cmd, own, nil
}

// openStdin opens the file beside the recipe that the command gets. The error is one of an expression, or a *missingError.
func (t *try) openStdin() (*os.File, error) {
	name, err := pathText(t.s.StdinFile, t.env.names)
	if err != nil {
		return nil, err
	}
	r := t.a.run.layout.recipe
	by := origins{r, t.envs()}
	missing := func(err error) (*os.File, error) { return nil, by.blame(t.s.StdinFile, &missingError{err}) }
	if name == "" {
		return missing(errors.New("it is empty"))
	}
	full := beside(r.Dir, name)
	if err := by.bounds(t.s.StdinFile).check(name, full); err != nil {
		return missing(err)
	}
	f, err := openExposed(t.a.run.opts.Exposed, full)
	if err != nil {
		return missing(err)
	}
	if info, err := f.Stat(); err != nil || info.IsDir() {
		f.Close()
		return missing(cmp.Or(err, fmt.Errorf("%s is a folder", name)))
	}
	return f, nil
}

// envs are the variables that the step's expressions see as env.
func (t *try) envs() [][]recipe.EnvVar {
	r := t.a.run.layout.recipe
	return [][]recipe.EnvVar{t.s.Env, r.Sandboxes[t.s.box].Env, r.Env}
}

// missingError is a file beside the recipe that is not there or cannot be read.
type missingError struct{ error }

func (e *missingError) Unwrap() error { return e.error }

func shellText(t *expr.Template, names func() expr.Env) (string, error) {
	if t.IsLiteral() {
		return t.Shell(nil)
	}
	return t.Shell(names())
}

func words(t *expr.Template, names func() expr.Env) ([]string, error) {
	if t.IsLiteral() {
		return t.Words(nil)
	}
	return t.Words(names())
}

// judge turns what Exec returned into an outcome. stopped says that sbxrun ended a background step on purpose.
func (t *try) judge(res sandbox.Result, err error, limit bound, stopped bool) (o outcome) {
	a := t.a
	most := int64(math.MaxInt64)
	if res.Limit == sandbox.LimitOutput {
		most = t.box.spec.Limits.WithDefaults().Output
	}
	stdout, outErr := t.stdout.close(most)
	stderr, errErr := t.stderr.close(most)
	defer func() {
		o.stdout, o.stderr = stdout, stderr
		if o.exit == 0 {
			o.exit, o.signal = res.Exit, res.Signal
		}
		o.duration = res.Duration
	}()
	unfit := ""
	if kind := sandbox.KindOf(err); err != nil && (kind == sandbox.KindInvalid || kind == sandbox.KindNotFound) {
		unfit, res.Exit, err = cause(err).Error(), 126, nil // as a shell says that something cannot be executed
	}
	switch {
	case err != nil:
		return refused(a.run.hard, t.box, "run the command", event.ReasonExec, err)
	case outErr != nil || errErr != nil:
		return broken(event.ReasonInternal, "keep the output", errors.Join(outErr, errErr))
	case a.interrupted() && res.Stopped:
		return notRun(interruption)
	}
	out := check.Outcome{
		Exit: res.Exit, Signal: res.Signal, Limit: event.Reason(res.Limit), Stopped: stopped && res.Stopped, Duration: res.Duration,
		Stdout: a.run.source(stdout), Stderr: a.run.source(stderr), Mask: a.run.mask,
	}
	if res.SandboxDied && res.Limit == sandbox.LimitNone {
		out.Limit = event.ReasonSignal
	}
	if res.Limit == sandbox.LimitTimeout {
		out.LimitText = fmt.Sprintf("it still ran when %v was over", limit)
	}
	o = passed()
	if res.Limit == sandbox.LimitTimeout && limit.outer() {
		o = timedOut(limit, "it still ran")
	} else if !t.s.unchecked || out.Limit != "" || out.Exit != 0 && !out.Stopped {
		o = t.check(&out)
	}
	if unfit != "" && o.reason == event.ReasonExitCode {
		o.message = "run the command: " + unfit
	}
	o.ran, o.result = true, out
	o.overall = o.overall || res.SandboxDied
	return o
}

// check holds the step's expectations against the outcome.
func (t *try) check(out *check.Outcome) outcome {
	ctx, cancel := t.patience()
	defer cancel()
	out.Fetch = t.fetcher().fetch
	update := t.a.run.opts.Update != nil
	out.Golden = func(name *expr.Template, full string) error {
		return origins{t.a.run.layout.recipe, t.envs()}.mayBeGolden(name, full, update)
	}
	report, err := check.Step(ctx, t.s.Step, t.a.run.layout.recipe.Dir, *out, t.env.names(), update)
	if err == nil {
		err = t.fetch.err
	}
	switch {
	case err != nil && t.fetch.err != nil:
		return refused(ctx, t.box, "get files to check", event.ReasonCollect, t.fetch.err)
	case err != nil && ctx.Err() != nil:
		return refused(ctx, t.box, "check what is expected", event.ReasonInternal, err)
	case err != nil:
		return broken(event.ReasonInternal, "check what is expected", err)
	case report.Reason != "":
		return outcome{verdict: event.Failed, reason: report.Reason, message: report.Message, findings: report.Findings}
	}
	o := passed()
	o.golden = report.Golden
	return o
}

func (t *try) fetcher() *fetcher {
	if t.fetch == nil {
		t.fetch = &fetcher{box: t.box, spool: t.a.run.opts.Dir}
	}
	return t.fetch
}

// end records the step's end with this try as its last.
func (t *try) end(o outcome) *stepEnd {
	defer t.close()
	captures := t.captures(&o)
	if len(o.golden) > 0 {
		if err := t.a.run.opts.Update.Add(t.a.run.layout.recipe.Dir, o.golden); err != nil {
			streams := o
			o = broken(event.ReasonInternal, "update golden files", err)
			o.stdout, o.stderr, o.duration, o.exit = streams.stdout, streams.stderr, streams.duration, streams.exit
		}
		o.golden = nil
	}
	t.span.End(string(o.verdict), o.message)
	o.tolerant = t.rules.tolerant
	return t.a.end(t.s, t.name, t.number, o, captures)
}

// captures evaluates the step's captures. One that cannot be evaluated, or without an outcome, is null.
func (t *try) captures(o *outcome) map[string]any {
	if len(t.s.Capture) == 0 {
		return nil
	}
	captures := make(map[string]any, len(t.s.Capture))
	var names expr.Env
	ctx, cancel := t.patience()
	defer cancel()
	if o.ran {
		o.result.Fetch = t.fetcher().fetch
		names = o.result.Env(ctx, t.env.names())
	}
	for _, c := range t.s.Capture {
		captures[c.Name] = nil
		if o.ran {
			if v, err := c.Expr.Eval(names); err == nil {
				captures[c.Name] = v
			}
		}
	}
	return captures
}

// close lets go of what the try holds on this machine.
func (t *try) close() {
	if t.stdin != nil {
		t.stdin.Close() // it was only read
	}
	if t.fetch != nil {
		t.fetch.close()
	}
}

// patience is that of the attempt, for a step.
func (t *try) patience() (context.Context, context.CancelFunc) {
	ctx, cancel := t.a.patience(t.budget)
	return t.span.In(ctx), cancel
}

// patience is a context for what is done around a command, until the time of the part is over or the run is
// interrupted.
func (a *attempt) patience(b budget) (context.Context, context.CancelFunc) {
	return b.soonest(time.Now(), 0).context(a.run.soft)
}
