package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// outcome is a sample that ended, with what is known of its steps.
type outcome struct {
	event.Event                // sample.end
	steps       []stepOutcome  // by their place in the recipe; in logs that do not tell it, in the order of their ends
	infra       []event.Sample // tries of the whole sample that were repeated
}

// stepOutcome is a step that ended, and its tries but for the last one.
type stepOutcome struct {
	event.Step
	earlier []event.Try
}

type sampleKey struct {
	recipe, id string
	sample     int
}

func keyOf(e event.Event) sampleKey { return sampleKey{e.Recipe, e.Case, e.Sample} }

// tracker joins the events of each sample. It holds what is in flight, and nothing of what has ended.
type tracker struct{ open map[sampleKey]*openSample }

type openSample struct {
	outcome
	began   time.Time
	running []string // names of steps
	tries   map[stepKey][]event.Try
}

// stepKey is a step of a sample. Logs that tell no place know steps by their names alone.
type stepKey struct {
	name  string
	place int
}

// add takes an event, and is the outcome if a sample ends with it.
func (t *tracker) add(e event.Event) *outcome {
	switch e.Type {
	case event.TypeSampleStart, event.TypeStepStart, event.TypeTryEnd, event.TypeStepEnd, event.TypeInfraRetry,
		event.TypeSampleEnd:
	default:
		return nil
	}
	key := keyOf(e)
	s := t.open[key]
	if s == nil {
		s = &openSample{began: e.Time}
		if t.open == nil {
			t.open = map[sampleKey]*openSample{}
		}
		t.open[key] = s
	}
	switch e.Type {
	case event.TypeStepStart:
		s.running = append(s.running, e.StepStart.Name)
	case event.TypeTryEnd:
		if s.tries == nil {
			s.tries = map[stepKey][]event.Try{}
		}
		step := stepKey{e.Try.Step, e.Try.Place}
		s.tries[step] = append(s.tries[step], *e.Try)
	case event.TypeStepEnd:
		s.endStep(*e.StepEnd)
	case event.TypeInfraRetry:
		s.infra = append(s.infra, *e.SampleEnd)
		s.steps, s.running, s.tries = nil, nil, nil
	case event.TypeSampleEnd:
		delete(t.open, key)
		s.Event = e
		return &s.outcome
	}
	return nil
}

// endStep keeps the step; of one that passed without its output, which no report shows.
func (s *openSample) endStep(step event.Step) {
	for i, name := range s.running {
		if name == step.Name {
			s.running = append(s.running[:i:i], s.running[i+1:]...)
			break
		}
	}
	if step.Verdict == event.Passed || step.Verdict == event.Skipped {
		step.Stdout.Head, step.Stdout.Tail, step.Stderr.Head, step.Stderr.Tail = "", "", "", ""
	}
	out := stepOutcome{Step: step}
	key := stepKey{step.Name, step.Place}
	for _, try := range s.tries[key] {
		if try.Number != step.Tries {
			out.earlier = append(out.earlier, try)
		}
	}
	delete(s.tries, key)
	at := len(s.steps)
	for at > 0 && s.steps[at-1].Place > step.Place {
		at--
	}
	s.steps = slices.Insert(s.steps, at, out)
}

// unfinished are the samples that did not end, in a fixed order; they have no SampleEnd.
func (t *tracker) unfinished() []*outcome {
	var found []*outcome
	for key, s := range t.open {
		s.Recipe, s.Case, s.Sample = key.recipe, key.id, key.sample
		found = append(found, &s.outcome)
	}
	slices.SortFunc(found, func(a, b *outcome) int {
		return cmp.Or(cmp.Compare(a.Case, b.Case), cmp.Compare(a.Sample, b.Sample))
	})
	return found
}

// notEnded are the steps that the sample's end names and that had no event of their own: they were not reached.
func (o *outcome) notEnded() []event.StepResult {
	if o.SampleEnd == nil {
		return nil
	}
	ended := map[string]int{}
	for _, s := range o.steps {
		ended[s.Name]++
	}
	var rest []event.StepResult
	for _, s := range o.SampleEnd.Steps {
		if ended[s.Name]--; ended[s.Name] < 0 {
			rest = append(rest, s)
		}
	}
	return rest
}

// culprits are the steps that made the verdict what it is; none where the sandbox, the collecting or a time limit did.
func (o *outcome) culprits() []*stepOutcome {
	var found []*stepOutcome
	for i := range o.steps {
		if s := &o.steps[i]; s.bad() {
			found = append(found, s)
		}
	}
	return found
}

// culprit is the step that decided: of those that are bad the one with the sample's verdict and reason.
func (o *outcome) culprit() *stepOutcome {
	var best *stepOutcome
	for _, s := range o.culprits() {
		if s.Verdict == o.SampleEnd.Verdict && (s.Reason == o.SampleEnd.Reason || o.SampleEnd.Reason == "") {
			return s
		}
		if best == nil && s.Verdict == o.SampleEnd.Verdict {
			best = s
		}
	}
	return best
}

// bad says whether the step counts against its sample.
func (s *stepOutcome) bad() bool {
	return !s.Tolerated && (s.Verdict == event.Failed || s.Verdict == event.Error)
}

// line is where in the recipe to look.
func (o *outcome) line() int {
	if o.SampleEnd.Line != 0 {
		return o.SampleEnd.Line
	}
	if s := o.culprit(); s != nil {
		return s.Line
	}
	return 0
}
