package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/sbxrun/sbxrun/internal/beneath"
	"github.com/sbxrun/sbxrun/internal/check"
	"github.com/sbxrun/sbxrun/internal/mask"
	"github.com/sbxrun/sbxrun/internal/report"
	"github.com/sbxrun/sbxrun/internal/tracing"
	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/executor"
	"github.com/sbxrun/sbxrun/pkg/plan"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// runFlags are the flags of run beside planFlags and providerFlags.
type runFlags struct {
	plan         planFlags
	provider     providerFlags
	maxFailures  int
	infraRetries int
	timeout      time.Duration
	update       bool
	out, junit   string
	verbose      bool
	quiet        bool
}

func newRun(std stdio) *cobra.Command {
	var flags runFlags
	cmd := &cobra.Command{
		Use:   "run RECIPE|DIR|GLOB...",
		Short: "Run recipes (the same as sbxrun RECIPE...)",
		Long: `run runs recipes, one after another, and writes what happened to --out, by default a new folder below .sbxrun/runs:
events.jsonl, results.jsonl, report.json, junit.xml, logs/ and artifacts/.

A DIR stands for the *.yaml and *.yml in it; a quoted GLOB, in which ** is any depth, for the files that it matches, hidden
names and what runs wrote left out.

Ctrl-C once ends what runs, takes the sandboxes down and writes the reports; twice: as fast as teardown allows; a third
time: at once. SIGTERM and SIGHUP act alike.

Exit status: 0 all passed, or all gates hold; 1 something failed or was not run, a gate does not hold, or an update was
refused; 2 bad usage or recipe, nothing was started; 3 infrastructure errors, something could not be taken down, or the
provider cannot give what is asked; 130 interrupted.

The recipe says what runs, the flags say where: --provider and those below that begin with a provider or a connection.
Each of these may also be an environment variable, --gateway-name as SBXRUN_GATEWAY_NAME, or stand in a profile of
.sbxrun.yaml, here or above in the repository; flags win over the environment, and that over the profile.`,
		Example: `  sbxrun recipe.yaml
  sbxrun run -j 8 --set model=small --case '^easy-' evals/
  sbxrun run --shard 2/4 --out shard2 evals/all.yaml
  sbxrun run --update golden.yaml        # take what came out as the new golden files
  sbxrun run --provider kubernetes --template python-sandbox-template recipe.yaml
  sbxrun run --provider kubernetes --connection gateway --gateway-name sandboxes --image debian:13 recipe.yaml
  SBXRUN_PROFILE=lab sbxrun recipe.yaml  # where sandboxes come from, by .sbxrun.yaml`,
		Args: someArgs("at least one recipe"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.run(cmd.Context(), std, args)
		},
	}
	f := cmd.Flags()
	flags.plan.add(cmd)
	flags.provider.addRun(cmd)
	f.IntVar(&flags.maxFailures, "max-failures", 0, "start no more samples once `N` have failed; exit status 1")
	f.IntVar(&flags.infraRetries, "infra-retries", executor.DefaultInfraRetries,
		"repeat a sample up to `N` times after infrastructure errors, where that is safe")
	f.DurationVar(&flags.timeout, "timeout", 0, "time limit `D` of the whole run, such as 90s or 1h30m (default: none)")
	f.BoolVar(&flags.update, "update", false, "write golden files that differ, at the end of the run")
	f.StringVar(&flags.out, "out", "", "write the run to the folder `DIR`, replacing a run that is there")
	f.StringVar(&flags.junit, "junit", "", "write the JUnit report to `FILE` too")
	f.BoolVarP(&flags.verbose, "verbose", "v", false, "show every sample and step")
	f.BoolVarP(&flags.quiet, "quiet", "q", false, "show only what went wrong")
	return cmd
}

func (f *runFlags) check() error {
	switch {
	case f.verbose && f.quiet:
		return usagef("-v and -q exclude each other")
	case f.maxFailures < 0:
		return usagef("--max-failures %d: it is at least 1 (0 is no limit)", f.maxFailures)
	case f.infraRetries < 0:
		return usagef("--infra-retries %d: it is at least 0", f.infraRetries)
	case f.timeout < 0:
		return usagef("--timeout %v: a time limit is positive", f.timeout)
	}
	return f.provider.settle()
}

// run is one run from its arguments to its exit status. Until the run's folder is open nothing of it was started.
func (f *runFlags) run(ctx context.Context, std stdio, args []string) error {
	if err := f.check(); err != nil {
		return err
	}
	discard := f.provider.prepare()
	defer discard()
	plans, err := f.plan.build(ctx, args, &f.provider)
	if err != nil {
		return err
	}
	if err := distinct(plans); err != nil {
		return err
	}
	secrets := secretsOf(plans)
	warnings, err := f.provider.fit(plans)
	if err != nil {
		return shownError(secrets, err)
	}
	if err := notOfRun(f.out, f.junit); err != nil {
		return err
	}
	id := newRunID()
	dir, err := openRunDir(f.out, id)
	if err != nil {
		return err
	}
	defer dir.close()
	r, err := newSession(f, std, dir, id, plans, secrets)
	if err != nil {
		return err
	}
	if f.provider.tracing {
		if r.trace, err = tracing.Start(ctx, id, versionString()); err != nil {
			return errors.Join(usagef("%v", err), r.close())
		}
	}
	ctx, signals := watchSignals(ctx, func(line string) {
		if !r.console.Note(line) {
			fmt.Fprintln(std.err, line)
		}
	}, takingDown("run "+id, f.provider.gcCommand())...)
	defer signals.stop()
	defer context.AfterFunc(ctx, func() { close(r.leave) })()
	if err := r.begin(f, warnings); err != nil {
		return errors.Join(err, r.close())
	}
	failure := r.runAll(ctx, f, plans, signals)
	code, err := r.finish(ctx, f, failure)
	return ended(std, code, shownError(secrets, err))
}

// secretsOf masks the secrets of all plans.
func secretsOf(plans []*plan.Plan) *mask.Mask {
	all := make([]map[string]string, len(plans))
	for i, p := range plans {
		all[i] = p.Secrets
	}
	return mask.New(all...)
}

// session is one run that is going on: where its events go, and what is known of it so far.
type session struct {
	id      string
	dir     string // absolute
	shown   string // as people call it
	cwd     string // the working directory
	start   time.Time
	log     *report.EventLog
	results *report.Results
	console *report.Console
	leave   chan struct{} // closed by an interruption: what is shown keeps nobody waiting
	summary event.Summary
	sink    event.Sink
	updates *check.Updates // nil without --update
	trace   *tracing.Run   // nil without --tracing
	spool   string
	started int        // samples
	mask    *mask.Mask // of the secrets of all recipes, for what is not an executor's to tell
	outcome outcome
	refusal error // what the provider cannot give, as the console has shown it with the samples that met it
}

func newSession(f *runFlags, std stdio, dir *runDir, id string, plans []*plan.Plan, secrets *mask.Mask) (*session, error) {
	s := &session{id: id, dir: dir.path, shown: dir.shown, start: time.Now(), mask: secrets, leave: make(chan struct{})}
	s.outcome = outcome{summary: &s.summary, shard: f.plan.shard != ""}
	var err error
	if s.log, err = report.OpenEventLog(dir.file(eventsFile)); err != nil {
		return nil, usagef("cannot write to the run's folder: %v; name another with --out", err)
	}
	if s.results, err = report.OpenResults(dir.file(resultsFile)); err != nil {
		return nil, errors.Join(err, s.log.Close())
	}
	if f.update {
		if s.spool, err = os.MkdirTemp("", "sbxrun-golden-"); err != nil {
			return nil, errors.Join(err, s.close())
		}
		recipes := make([]string, len(plans))
		for i, p := range plans {
			recipes[i] = p.Recipe.Path
		}
		s.updates = check.NewUpdates(s.spool, recipes...)
	}
	console := report.DetectConsole(std.out, os.Getenv)
	console.Quiet, console.Verbose, console.Leave = f.quiet, f.verbose, s.leave
	s.console = report.NewConsole(console)
	s.sink = warnOnce(event.Tee(s.log, s.results, &s.summary, s.console))
	return s, nil
}

func (s *session) send(e event.Event) error {
	e.Time, e.Message = time.Now(), s.mask.Text(e.Message)
	return s.sink.Send(e)
}

func (s *session) begin(f *runFlags, warnings []string) error {
	var err error
	if s.cwd, err = os.Getwd(); err != nil {
		return fmt.Errorf("find the working directory: %w", err)
	}
	err = s.send(event.Event{Type: event.TypeRunStart, Run: &event.RunStart{
		Format: event.Format, ID: s.id, Version: versionString(), Provider: f.provider.provider, Dir: s.dir, Cwd: s.cwd, Shard: f.plan.shard,
	}})
	for _, w := range warnings {
		err = errors.Join(err, s.send(event.Event{Type: event.TypeWarning, Message: w}))
	}
	return err
}

// runAll runs the plans one after another. The error is what kept the run from going on.
func (s *session) runAll(ctx context.Context, f *runFlags, plans []*plan.Plan, signals *interrupts) error {
	size, hold := 0, time.Duration(0)
	for _, p := range plans {
		size, hold = max(size, p.Pool.Size), max(hold, executor.Hold(p))
	}
	provider, err := f.provider.open(ctx, sandbox.Run{ID: s.id, Dir: s.dir, Size: size}, hold)
	if err != nil {
		return err
	}
	opts := executor.Options{
		Provider: provider, Sink: s.sink, RunID: s.id, Dir: s.dir,
		InfraRetries: f.infraRetries, Timeout: f.timeout, Hurry: signals.hurry, Update: s.updates, Exposed: new(beneath.Folders),
	}
	if s.trace != nil {
		opts.Span = s.trace.Span()
		ctx = opts.Span.In(ctx)
	}
	if f.timeout > 0 {
		opts.Deadline = s.start.Add(f.timeout)
	}
	failed := 0
	for i, p := range plans {
		opts.File, opts.Followed = repositoryFile(p.Recipe.Path), i+1 < len(plans)
		if f.maxFailures > 0 {
			opts.MaxFailures = max(1, f.maxFailures-failed)
		}
		if !s.outcome.shard {
			opts.Gates = func(gates []event.Gate) []event.GateResult {
				return judge(gates, s.summary.Recipe(executor.ShownName(p)))
			}
		}
		var result executor.Result
		result, err = executor.Run(ctx, p, opts)
		failed += result.Failed
		s.started += result.Started
		if result.Stopped == executor.StoppedUnsupported && sandbox.KindOf(err) == sandbox.KindUnsupported {
			s.outcome.infra, s.refusal, err = true, err, nil
		}
		if err != nil || ctx.Err() != nil || result.Stopped != "" {
			err = errors.Join(err, s.notStarted(plans[i+1:]))
			break
		}
	}
	if left := takeDown(ctx, provider); left != nil {
		s.outcome.infra = true
		err = errors.Join(err, s.send(event.Event{Type: event.TypeLeft, Message: left.Error()}))
	}
	return err
}

// notStarted names the recipes that a run which was stopped does not come to.
func (s *session) notStarted(plans []*plan.Plan) error {
	if len(plans) == 0 {
		return nil
	}
	names := make([]string, len(plans))
	for i, p := range plans {
		names[i] = p.Recipe.Name
	}
	return s.send(event.Event{Type: event.TypeWarning, Message: "not started, since the run was stopped: " + strings.Join(names, ", ")})
}

// closeLimit is how long what a provider still holds at the end may take to go.
const closeLimit = time.Minute

// takeDown closes a provider, also after an interrupt.
func takeDown(ctx context.Context, provider sandbox.Provider) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
	defer cancel()
	return provider.Close(ctx)
}

// finish writes what is written at the end of a run and returns the exit status. failure is what stopped the run.
func (s *session) finish(ctx context.Context, f *runFlags, failure error) (int, error) {
	s.outcome.interrupted = errors.Is(context.Cause(ctx), errInterrupted)
	end := event.RunEnd{Duration: time.Since(s.start)}
	if s.updates != nil && !s.outcome.interrupted && failure == nil && s.refusal == nil {
		written, err := s.updates.Write()
		if err != nil {
			s.outcome.refused, end.Refused = true, true
			failure = s.send(event.Event{Type: event.TypeWarning, Message: err.Error()})
		}
		for _, name := range written {
			end.Updated = append(end.Updated, s.mask.Text(name)) // a case's id can be in it
		}
	}
	end.Exit = status(s.outcome)
	if s.outcome.interrupted && errors.Is(failure, errInterrupted) {
		failure = nil
	}
	if failure != nil && !s.outcome.interrupted {
		if end.Exit = statusOf(failure); end.Exit == exitUsage && s.started > 0 {
			end.Exit = exitInfra // such as a data file that was changed while it was read
		}
	}
	if s.trace != nil {
		message := ""
		if stopped := errors.Join(s.refusal, failure); stopped != nil {
			message = s.mask.Text(stopped.Error())
		}
		if unsent := s.trace.Close(ctx, message); unsent != nil {
			failure = errors.Join(failure, s.send(event.Event{Type: event.TypeWarning, Message: unsent.Error()}))
		}
	}
	err := s.send(event.Event{Type: event.TypeRunEnd, RunEnd: &end})
	err = errors.Join(err, s.close())
	files, reports := s.reports(f.junit)
	err = errors.Join(failure, err, reports, s.console.Close(files...))
	return end.Exit, err
}

// reports makes the reports of the run from its log.
func (s *session) reports(junit string) ([]string, error) {
	log, err := report.Open(s.dir)
	if err != nil {
		return nil, fmt.Errorf("read the run's log to make reports: %w", err)
	}
	return report.Write(log, report.Options{Dir: s.shown, JUnit: junit, StepSummary: os.Getenv("GITHUB_STEP_SUMMARY")})
}

// close closes the files of the run and removes what is needed only while it goes on.
func (s *session) close() error {
	err := errors.Join(s.results.Close(), s.log.Close())
	if s.spool != "" {
		err = errors.Join(err, os.RemoveAll(s.spool))
	}
	return err
}

// warnOnce leaves out warnings that the run has had, such as those of a provider for each recipe.
func warnOnce(sink event.Sink) event.Sink {
	var told sync.Map
	return event.SinkFunc(func(e event.Event) error {
		if e.Type == event.TypeWarning {
			if _, again := told.LoadOrStore(e.Message, true); again {
				return nil
			}
		}
		return sink.Send(e)
	})
}

// judge evaluates the gates of a recipe whose samples have ended.
func judge(gates []event.Gate, r *event.RecipeSummary) []event.GateResult {
	if r == nil {
		r = &event.RecipeSummary{}
	}
	return check.Gates(gates, check.Scores{
		// Before recipe.end is told, what will not run is not counted yet.
		Total: max(r.Total, r.Start.Total), Passed: r.Passed, Failed: r.Failed, Errors: r.Errors, Flaky: r.Flaky,
		Durations: r.Duration, Means: r.Means(),
	})
}
