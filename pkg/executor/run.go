package executor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/sbxrun/sbxrun/internal/beneath"
	"github.com/sbxrun/sbxrun/internal/check"
	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/internal/mask"
	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/plan"
)

// run is what the samples of one Run share.
type run struct {
	plan     *plan.Plan
	mask     *mask.Mask // of the plan's secrets
	name     string     // of the recipe, as it may be shown
	opts     Options
	layout   *layout
	events   *events
	span     Span
	specs    *specs
	envs     *environments
	files    *recipeFiles
	releaser releaser
	stock    *stock // nil: no sandbox is used again
	pace     pace
	progress progress

	// soft ends at the first interruption and when the sink fails: commands get a TERM, nothing more is started.
	soft context.Context
	// hard ends at the second: commands are killed.
	hard context.Context
	// waiting is soft, and ends when the run's time is over: what waits to start needs to wait no longer.
	waiting context.Context
}

// ballast spares runs of short samples most of their garbage collections: from the 4 MiB at which Go begins there would be a
// hundred a second, for the little that is live. It is made when the process starts, when memory is new and need not be
// cleared: what nobody touches takes none. The price is as much garbage more.
var ballast = make([]byte, 16<<20)

// ShownName is the name of the plan's recipe as events, reports and folders have it: without secrets.
func ShownName(p *plan.Plan) string { return mask.New(p.Secrets).Text(p.Recipe.Name) }

// Run runs the plan and sends the events from recipe.start to recipe.end. Cancelling ctx is the first interruption;
// see Options.Hurry for the second. When Run returns every sandbox has been released, or is named in Result.Left.
//
// Verdicts are no errors. The error is that of the sink, of the reader of rows, of a recipe whose sandboxes cannot be
// told, or a *sandbox.Error of KindUnsupported where the provider cannot give what the recipe asks for in every case.
func Run(ctx context.Context, p *plan.Plan, opts Options) (Result, error) {
	if !filepath.IsAbs(opts.Dir) {
		return Result{}, fmt.Errorf("the run's folder %q is not an absolute path", opts.Dir)
	}
	if info, err := os.Stat(opts.Dir); err != nil {
		return Result{}, fmt.Errorf("the run's folder: %w", err)
	} else if !info.IsDir() {
		return Result{}, fmt.Errorf("the run's folder: %s is not a folder", opts.Dir)
	}
	runtime.KeepAlive(ballast) // which is used by being there
	soft, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	hard, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	if opts.Hurry != nil {
		finished := make(chan struct{})
		defer close(finished)
		go func() {
			select {
			case <-opts.Hurry:
				stop(errors.New("interrupted twice"))
				kill()
			case <-finished:
			}
		}()
	}
	if opts.Exposed == nil {
		opts.Exposed = new(beneath.Folders)
	}
	r := &run{plan: p, mask: mask.New(p.Secrets), opts: opts, layout: newLayout(p.Recipe), soft: soft, hard: hard, waiting: soft}
	r.name = r.mask.Text(p.Recipe.Name)
	r.events = &events{sink: opts.Sink, mask: r.mask, recipe: r.name, stop: stop}
	r.pace.slow = make(chan struct{})
	r.span = untraced{}
	if opts.Span != nil {
		r.span = maskedSpan{opts.Span, r.mask}
	}
	r.releaser.events = r.events
	r.stock = newStock(r)
	r.files = newRecipeFiles(p.Recipe, opts.Exposed)
	if !opts.Deadline.IsZero() {
		var cancel context.CancelFunc
		r.waiting, cancel = context.WithDeadlineCause(soft, opts.Deadline, &timeoutError{r.budget(time.Time{}).soonest(time.Time{}, 0)})
		defer cancel()
	}
	var err error
	if r.envs, err = newEnvironments(p.Recipe, p.Secrets); err != nil {
		return Result{}, err
	}
	r.events.send(event.Event{Type: event.TypeRecipeStart, RecipeStart: r.describe()})
	if r.specs, err = newSpecs(p, r.layout, opts.Provider, r.events, opts.Exposed); err == nil {
		err = r.pool()
	}
	return r.finish(err)
}

// describe is what recipe.start tells.
func (r *run) describe() *event.RecipeStart {
	rec := r.layout.recipe
	s := &event.RecipeStart{
		File: defaultTo(r.opts.File, rec.Path), Digest: r.plan.Digest, Description: rec.Description, HasCases: rec.Cases != nil,
		Samples: r.plan.Samples, Total: r.plan.Total, Pool: r.plan.Pool.Size, Vars: fields(r.plan.Vars), Gates: r.gates(),
	}
	for _, step := range r.layout.all {
		s.Steps = append(s.Steps, step.Name.Source())
	}
	return s
}

func (r *run) gates() []event.Gate {
	var gates []event.Gate
	for _, g := range r.layout.recipe.Gates {
		gates = append(gates, event.Gate{Source: g.Expr.Source(), Line: g.Pos.Line})
	}
	return gates
}

// finish ends the recipe. err is what stopped the pool, or nil.
func (r *run) finish(err error) (Result, error) {
	if sinkErr := r.events.err(); sinkErr != nil {
		err = sinkErr
	}
	switch {
	case err != nil:
		r.progress.stop(StoppedError)
	case r.soft.Err() != nil:
		r.progress.stop(StoppedInterrupt)
	}
	if err == nil {
		err = r.progress.unsupported
	}
	res := Result{
		Stopped: r.progress.stopped, Started: r.progress.started, Failed: r.progress.failed,
		NotRun: max(0, r.plan.Total-r.progress.started), Left: r.releaser.left,
	}
	if res.Stopped == StoppedMaxFailures && res.NotRun == 0 && !r.opts.Followed {
		res.Stopped = "" // it came too late to stop anything
	}
	end := &event.RecipeEnd{Stopped: res.Stopped, NotRun: res.NotRun}
	if gates := r.gates(); r.opts.Gates != nil && len(gates) > 0 {
		end.Gates = r.opts.Gates(gates)
	}
	r.events.send(event.Event{Type: event.TypeRecipeEnd, RecipeEnd: end})
	if err == nil {
		err = r.events.err()
	}
	return res, err
}

// budget is the time of a sample that begins now.
func (r *run) budget(now time.Time) budget {
	b := budget{run: r.opts.Deadline, runLimit: r.opts.Timeout, sampleLimit: r.plan.Timeout}
	if b.sampleLimit > 0 && !now.IsZero() {
		b.sample = now.Add(b.sampleLimit)
	}
	return b
}

// group names what sandboxes that may reach each other have in common.
func (r *run) group(seq int64, part string) string {
	return r.name + "/" + strconv.FormatInt(seq, 10) + part
}

func (r *run) namesOf(row plan.Case, sample int) func() expr.Env {
	return func() expr.Env { return r.plan.Env(row, sample, r.opts.RunID) }
}

// source is a log as expectations and expressions read it; nil where nothing was written.
func (r *run) source(s event.Stream) check.Source {
	if s.Path == "" {
		return nil
	}
	return check.File(filepath.Join(r.opts.Dir, filepath.FromSlash(s.Path)))
}

// unsupported notes that the provider cannot give what the recipe asks for: no sample would fare better.
func (r *run) unsupported(err error) {
	r.progress.mu.Lock()
	if r.progress.unsupported == nil {
		r.progress.unsupported = err
	}
	r.progress.mu.Unlock()
	r.progress.stop(StoppedUnsupported)
}

// progress counts samples and knows why no more are started.
type progress struct {
	mu          sync.Mutex
	started     int
	failed      int
	stopped     string
	unsupported error
}

// stop says why no more are started; the first reason stays.
func (p *progress) stop(why string) {
	p.mu.Lock()
	if p.stopped == "" {
		p.stopped = why
	}
	p.mu.Unlock()
}

// more says whether samples are still to be started.
func (p *progress) more(total int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.started < total
}

// begin counts a sample that starts.
func (p *progress) begin() {
	p.mu.Lock()
	p.started++
	p.mu.Unlock()
}

// ended counts a sample that ended.
func (p *progress) ended(v event.Verdict, maxFailures int) {
	if v != event.Failed {
		return
	}
	p.mu.Lock()
	p.failed++
	stop := maxFailures > 0 && p.failed >= maxFailures
	p.mu.Unlock()
	if stop {
		p.stop(StoppedMaxFailures)
	}
}
