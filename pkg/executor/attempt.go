package executor

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// attempt is one try of a sample, in sandboxes of its own.
type attempt struct {
	run    *run
	sample *sample
	number int // from 1

	names       names
	boxes       []*box // of the part that runs, by index of the sandbox; nil where the part has none of it
	part        string
	ends        []*stepEnd // by index of the step; nil: it has not ended
	stagedStep  []bool     // by index of the step
	backgrounds backgrounds
	logs        freshDir
	artifacts   freshDir
	collected   []entry // for verify
	staging     atomic.Int64
	phases      map[string]float64

	reused  bool    // a sandbox had another sample before
	began   bool    // a command was started
	open    bool    // in a sandbox from which it could change something outside
	trouble outcome // that no step had: acquire, collect, a panic
}

func newAttempt(s *sample, number int) *attempt {
	r := s.run
	a := &attempt{
		run: r, sample: s, number: number,
		ends:       make([]*stepEnd, len(r.layout.all)),
		stagedStep: make([]bool, len(r.layout.all)),
		logs: freshDir{run: r.opts.Dir, name: func() string {
			return logPath(r.name, s.id, s.number, number)
		}},
		artifacts: freshDir{run: r.opts.Dir, name: func() string {
			return artifactPath(r.name, s.id, s.number)
		}},
		phases: make(map[string]float64, 7),
	}
	a.names = names{base: func() expr.Env { return r.plan.Env(s.row, s.number, r.opts.RunID) }, layout: r.layout}
	return a
}

// execute runs the attempt from its sandboxes, which may have been acquired ahead, to their end.
func (a *attempt) execute(ahead *lease) {
	defer a.fillIn()
	defer a.backgrounds.abandon()
	defer func() {
		if v := recover(); v != nil {
			a.trouble = broken(event.ReasonInternal, "sample", asPanic(v))
		}
	}()
	start := time.Now()
	if ahead == nil {
		ahead = a.run.leaseNow(a.sample, a.number)
	}
	boxes, err := ahead.wait()
	if ahead.stale() {
		a.run.dismiss(a.sample.span.In(a.run.hard), partSteps, boxes, false)
		boxes, err = a.run.leaseNow(a.sample, a.number).wait()
	}
	a.phase("acquire", start)
	if err != nil {
		a.trouble = a.notAcquired(err)
		return
	}
	now := time.Now()
	b := a.run.budget(now)
	if !a.main(boxes, b) || len(a.run.layout.verify) == 0 {
		return
	}
	a.verify(b)
}

// main runs everything but verify and says whether verify may follow.
func (a *attempt) main(boxes []*box, b budget) bool {
	ended := false // not where something panics
	defer func() { a.takeDown(partSteps, boxes, ended) }()
	a.enter(partSteps, a.run.layout.mainBoxes, boxes)
	start := time.Now()
	a.groups(a.run.layout.steps, b, true)
	collects := len(a.run.layout.recipe.Collect) > 0
	late := b
	if late.extra = grace; collects {
		late.extra -= collectGrace
	}
	a.groups(a.run.layout.finally, late, false)
	a.stopBackgrounds()
	a.stepsPhase("run", start)
	if collects {
		late.extra = grace
		a.collectAll(late)
	}
	ended = true
	a.leave(boxes)
	return !a.interrupted() && !a.failedIn(a.run.layout.steps) && a.trouble.reason == ""
}

// collectAll takes the artifacts out, unless the run was interrupted.
func (a *attempt) collectAll(b budget) {
	if a.interrupted() {
		a.trouble = notRun(interruption)
		return
	}
	defer a.phase("collect", time.Now())
	ctx, cancel := a.patience(b)
	defer cancel()
	if a.trouble = a.collect(a.sample.span.In(ctx)); a.trouble.verdict == event.Passed {
		a.trouble = twice(a.collected)
	}
	if a.trouble.reason == event.ReasonTimeout { // which the sample's own may hide
		a.send(event.Event{Type: event.TypeWarning, Message: "not all artifacts were collected: " + a.trouble.message})
	}
}

// verify runs the verify steps in sandboxes of their own.
func (a *attempt) verify(b budget) {
	start := time.Now()
	specs, err := a.run.specs.make(a.run.layout.verifyBoxes, a.group("v"), a.sample.id, a.sample.number, a.names.base)
	var boxes []*box
	if err == nil {
		span := a.sample.span.Start("acquire")
		boxes, err = a.run.acquireAll(span.In(a.run.waiting), partVerify, specs)
		endSpan(span, err)
	}
	a.phase("acquire", start)
	if !b.sample.IsZero() {
		b.sample = b.sample.Add(time.Since(start)) // the wait for sandboxes is not the sample's time
	}
	if err != nil {
		a.trouble = a.notAcquired(err)
		return
	}
	ended := false
	defer func() { a.takeDown(partVerify, boxes, ended) }()
	defer a.stepsPhase("verify", time.Now())
	a.enter(partVerify, a.run.layout.verifyBoxes, boxes)
	a.groups(a.run.layout.verify, b, true)
	a.stopBackgrounds()
	ended = true
}

// enter begins a part in its sandboxes.
func (a *attempt) enter(part string, indexes []int, boxes []*box) {
	a.part = part
	a.boxes = make([]*box, len(a.run.layout.recipe.Sandboxes))
	for i, index := range indexes {
		a.boxes[index] = boxes[i]
		a.reused = a.reused || boxes[i].uses > 0
	}
	a.names.setHosts(func() map[string]any {
		hosts := make(map[string]any, len(a.boxes))
		for i, b := range a.boxes {
			hosts[a.boxName(i)] = map[string]any{"host": expr.Lazy(func() (any, error) { return hostOf(b) })}
		}
		return hosts
	})
}

// hostOf is the address of a sandbox for others of its sample.
func hostOf(b *box) (any, error) {
	if b == nil {
		return nil, errors.New("no step of this part runs in this sandbox, so there is none")
	}
	if sb, ok := b.sb.(sandbox.Addressed); ok && sb.Host() != "" {
		return sb.Host(), nil
	}
	return nil, errors.New("this sandbox has no address: give it network: case")
}

// takeDown gives up the sandboxes of a part. Commands that still run there, which is only after a panic, end with them.
func (a *attempt) takeDown(part string, boxes []*box, ended bool) {
	start := time.Now()
	for _, b := range boxes {
		if b.wasUsed() {
			a.began = true
			a.open = a.open || !a.run.confined(b.spec)
		}
	}
	span := a.sample.span.Start("release")
	a.run.dismiss(span.In(a.run.hard), part, boxes, ended && !a.troubled())
	span.End("", "")
	a.run.pace.released(time.Since(start))
	a.phase("release", start)
}

// troubled says whether anything so far ended as an error of infrastructure.
func (a *attempt) troubled() bool {
	return a.trouble.verdict == event.Error ||
		slices.ContainsFunc(a.ends, func(end *stepEnd) bool { return end != nil && end.verdict == event.Error })
}

// groups runs groups of steps in order. With untilFailure, what follows a failure is left out.
func (a *attempt) groups(groups []group, b budget, untilFailure bool) {
	for i := range groups {
		a.reapBackgrounds()
		if a.interrupted() || untilFailure && (a.failedIn(groups) || a.trouble.reason != "") {
			return // the rest is filled in as not run
		}
		g := &groups[i]
		if len(g.steps) == 1 {
			a.publish(g.steps[0], a.step(g.steps[0], b))
			continue
		}
		var wg errgroup.Group
		wg.SetLimit(g.max)
		ends := make([]*stepEnd, len(g.steps))
		for j, s := range g.steps {
			wg.Go(func() error { // a verdict is no error: the siblings go on
				ends[j] = a.step(s, b)
				return nil
			})
		}
		_ = wg.Wait() // no function returns an error
		for j, s := range g.steps {
			a.publish(s, ends[j])
		}
	}
}

// publish lets later steps see how a step ended; nil is one that runs in the background still.
func (a *attempt) publish(s *step, end *stepEnd) {
	if end != nil {
		a.names.add(s.ID, func() map[string]any { return end.fields(s.Step) })
	}
}

// failed says whether a step has ended in a way that counts against the sample.
func (a *attempt) failed(s *step) bool {
	end := a.ends[s.index]
	return end != nil && end.counts() && (end.verdict == event.Failed || end.verdict == event.Error)
}

// failedIn says so of any step of the groups.
func (a *attempt) failedIn(groups []group) bool {
	return slices.ContainsFunc(groups, func(g group) bool { return slices.ContainsFunc(g.steps, a.failed) })
}

// interrupted says whether the run was, so that nothing is to be started any more.
func (a *attempt) interrupted() bool { return a.run.soft.Err() != nil }

// fillIn records the steps that were never reached.
func (a *attempt) fillIn() {
	for _, s := range a.run.layout.all {
		if a.ends[s.index] == nil {
			a.end(s, a.stepName(s), 0, notRun(a.whyNotReached(s)), nil)
		}
	}
}

func (a *attempt) whyNotReached(s *step) string {
	switch {
	case a.interrupted():
		return interruption
	case a.trouble.message != "" && !a.began:
		return "the sample did not get so far"
	case a.trouble.message != "" && s.part == partVerify && !a.failedIn(a.run.layout.steps):
		return "the artifacts were not collected"
	}
	return "an earlier step failed"
}

func (a *attempt) stepName(s *step) string {
	if name, err := text(s.Name, a.names.get); err == nil {
		return name
	}
	return s.Name.Source()
}

// notAcquired is the outcome of a sample that did not get its sandboxes.
func (a *attempt) notAcquired(err error) outcome {
	if a.interrupted() {
		return notRun(interruption)
	}
	if t, ok := errors.AsType[*timeoutError](context.Cause(a.run.waiting)); ok {
		return notRun(t.Error() + ", and the sample still waited for a sandbox")
	}
	if hopeless, ok := errors.AsType[*hopelessError](err); ok {
		a.run.unsupported(hopeless.error)
	}
	o := broken(event.ReasonAcquire, "acquire", err)
	// Whoever waited for as long as there is to wait does not wait as long again.
	o.repeatable = o.repeatable && !errors.Is(err, context.DeadlineExceeded)
	o.line = a.run.layout.recipe.Sandboxes[0].Pos.Line
	return o
}

func (a *attempt) send(e event.Event) { a.sample.send(e) }

func (a *attempt) boxName(i int) string { return a.run.layout.recipe.Sandboxes[i].Name }

func (a *attempt) phase(name string, start time.Time) { a.phases[name] += time.Since(start).Seconds() }

// stepsPhase is phase for the steps of a part, without the time in which their files were staged.
func (a *attempt) stepsPhase(name string, start time.Time) {
	staging := time.Duration(a.staging.Swap(0))
	a.phases["stage"] += staging.Seconds()
	a.phases[name] += max(0, time.Since(start)-staging).Seconds()
}

func (a *attempt) artifactDir(box int) artifactDir {
	return artifactDir{sample: &a.artifacts, name: event.FileName(shownName(a.run.mask, a.boxName(box), box+1))}
}

// group names what the sandboxes of one part of the attempt have in common.
func (a *attempt) group(part string) string {
	return a.run.group(a.sample.seq, part+strconv.Itoa(a.number))
}
