package executor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/plan"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// maxBackoff is what the wait between two tries doubles up to. One that is asked for and longer stays as it is.
const maxBackoff = 30 * time.Second

// stepEnd is how a step ended.
type stepEnd struct {
	outcome
	event    event.Step
	captures map[string]any // as they are: the event has them cut to size
}

// counts says whether the step's verdict counts for the sample.
func (e *stepEnd) counts() bool { return !e.event.Tolerated }

// step runs one step to its end, or to the point where a background step is ready, and returns that end or nil. A
// panic in it becomes its outcome.
func (a *attempt) step(s *step, b budget) (end *stepEnd) {
	name := s.Name.Source()
	defer func() {
		if v := recover(); v != nil {
			end = a.end(s, name, 1, broken(event.ReasonInternal, "step "+name, asPanic(v)), nil)
		}
	}()
	rules := a.rules(s)
	refuse := func(what string, err error) *stepEnd {
		o := failed(event.ReasonAssertion, "%s: %v", what, err)
		o.tolerant = rules.tolerant
		return a.end(s, name, 0, o, nil)
	}
	name, err := text(s.Name, a.names.get)
	if err != nil {
		name = s.Name.Source()
		return refuse("name", err)
	}
	if a.interrupted() {
		return a.end(s, name, 0, notRun(interruption), nil)
	}
	if s.If != nil {
		yes, err := a.condition(s)
		if err != nil {
			return refuse("if cannot be evaluated", err)
		}
		if !yes {
			return a.end(s, name, 0, outcome{verdict: event.Skipped, message: "if is false: " + s.If.Source()}, nil)
		}
	}
	if a.boxes[s.box].gone() {
		return a.end(s, name, 0, notRun("its sandbox is gone"), nil)
	}
	a.send(event.Event{Type: event.TypeStepStart, StepStart: &event.StepStart{
		Name: name, ID: s.ID, Part: s.part, Sandbox: a.boxName(s.box),
	}})
	return a.tries(s, name, rules, b)
}

// condition evaluates the step's if. It sees the environment that the step would have.
func (a *attempt) condition(s *step) (bool, error) {
	env, err := a.namesFor(s, s.If)
	if err != nil {
		return false, err
	}
	return s.If.Bool(env)
}

// namesFor is what something of the step sees before its first try: the environment that the step would have, if it
// asks for that.
func (a *attempt) namesFor(s *step, what interface{ Uses(string, ...string) bool }) (expr.Env, error) {
	if !what.Uses("env") {
		return a.names.get(), nil
	}
	env, err := a.run.envs.step(s, a.names.get)
	if err != nil {
		return nil, err
	}
	return env.names(), nil
}

// tries runs a step until a try passes, is not to be repeated, or was the last.
func (a *attempt) tries(s *step, name string, rules rules, b budget) *stepEnd {
	backoff := rules.backoff
	span := a.sample.span.Start("step", "step", name, "part", s.part, "sandbox", a.boxName(s.box))
	for n := 1; ; n++ {
		t := a.newTry(s, name, n, rules, b, span)
		o, running := t.run()
		if running {
			return nil
		}
		if n >= rules.attempts || !retries(s.Retry.On, o) || !a.pause(backoff, b) {
			return t.end(o)
		}
		t.close()
		e := o.event(s, n)
		e.Step = name
		a.send(event.Event{Type: event.TypeTryEnd, Try: &e})
		backoff = max(backoff, min(2*backoff, maxBackoff))
	}
}

// rules are what a step's values decide of what becomes of its tries.
type rules struct {
	attempts int
	backoff  time.Duration
	tolerant bool  // its failure does not count
	err      error // of a value: no try has a chance
}

// rules evaluates them. One that cannot be evaluated takes none of the others with it.
func (a *attempt) rules(s *step) rules {
	r := rules{attempts: 1}
	take := func(key string, v *expr.Value, f func(any) error) {
		if v == nil {
			return
		}
		var names expr.Env
		var err error
		if !v.IsLiteral() {
			names, err = a.namesFor(s, v)
		}
		var value any
		if err == nil {
			value, err = v.Eval(names)
		}
		if err == nil {
			err = f(value)
		}
		if err != nil && r.err == nil {
			r.err = fmt.Errorf("%s: %w", key, err)
		}
	}
	take("continue_on_error", s.ContinueOnError, func(v any) (err error) { r.tolerant, err = expr.TruthOf(v); return err })
	take("retry.attempts", s.Retry.Attempts, func(v any) error {
		n, err := expr.CountOf(v, recipe.MaxAttempts)
		r.attempts = max(n, 1)
		return err
	})
	take("retry.backoff", s.Retry.Backoff, func(v any) (err error) {
		if !isZero(v) {
			r.backoff, err = plan.ParseDuration(v)
		}
		return err
	})
	if r.err != nil {
		r.attempts = 1
	}
	return r
}

// isZero says whether a duration is none at all.
func isZero(v any) bool {
	text, err := expr.TextOf(v)
	if err != nil {
		return false
	}
	if d, err := time.ParseDuration(text); err == nil {
		return d == 0
	}
	n, err := strconv.ParseFloat(text, 64)
	return err == nil && n == 0
}

// retries says whether another try may follow: of a failure with one of these reasons, or with any if none is named.
func retries(on []string, o outcome) bool {
	if o.overall || o.reason == "" {
		return false
	}
	if len(on) == 0 {
		return o.verdict == event.Failed
	}
	return slices.Contains(on, string(o.reason))
}

// pause waits between two tries. It returns false, at once, where there would be no time left after it, and where the
// run is interrupted.
func (a *attempt) pause(d time.Duration, b budget) bool {
	now := time.Now()
	if left := b.soonest(now, 0).left(now); left < 0 || left > 0 && left <= d {
		return false
	}
	return sleep(a.run.soft, d)
}

// event returns the outcome as the events of tries and steps carry it.
func (o *outcome) event(s *step, number int) event.Try {
	return event.Try{
		Place: s.index + 1, Number: number, Reason: o.reason, Message: o.message, Findings: o.findings, Exit: o.exit,
		Signal: o.signal, Duration: o.duration, Stdout: o.stdout, Stderr: o.stderr,
	}
}

// end records the end of a step and tells it.
func (a *attempt) end(s *step, name string, tries int, o outcome, captures map[string]any) *stepEnd {
	if o.cutShort {
		a.run.progress.stop(StoppedTimeout)
	}
	end := &stepEnd{outcome: o, captures: captures}
	shown := captures
	if len(captures) > 0 {
		shown = make(map[string]any, len(captures))
		for k, v := range captures {
			shown[k] = recorded(a.run.mask, v)
		}
	}
	end.event = event.Step{
		Name: name, ID: s.ID, Part: s.part, Sandbox: a.boxName(s.box), Line: s.Pos.Line,
		Verdict: o.verdict, Tolerated: o.tolerant && o.verdict == event.Failed && !o.overall,
		Flaky: o.verdict == event.Passed && tries > 1, Background: s.Background, Tries: tries, Captures: shown,
		Try: o.event(s, 0),
	}
	a.send(event.Event{Type: event.TypeStepEnd, StepEnd: &end.event})
	a.ends[s.index] = end
	return end
}

// fields is what expressions see as steps.ID.
func (e *stepEnd) fields(s *recipe.Step) map[string]any {
	m := unknownStep(s)
	if e.ran {
		maps.Copy(m, e.result.Env(context.Background(), nil))
		delete(m, "file")
	}
	m["verdict"] = string(e.verdict)
	maps.Copy(m, e.captures)
	return m
}

// row is the step's part of results.jsonl.
func (e *stepEnd) row() event.StepResult {
	return event.StepResult{
		Name: e.event.Name, ID: e.event.ID, Verdict: e.event.Verdict, Reason: e.event.Reason, Exit: e.event.Exit,
		Duration: e.event.Duration.Seconds(), Tries: e.event.Tries, Captures: e.event.Captures,
	}
}

// describe is the step's part of the sample's message.
func (e *stepEnd) describe() string {
	if e.event.Message == "" {
		return e.event.Name
	}
	return fmt.Sprintf("%s: %s", e.event.Name, e.event.Message)
}
