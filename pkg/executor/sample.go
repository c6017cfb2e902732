package executor

import (
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sbxrun/sbxrun/internal/mask"
	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/plan"
)

// sample is one sample of a case, from the moment it waits for its place to its last event.
type sample struct {
	run    *run
	row    plan.Case
	id     string // of the case, as it may be shown
	number int    // of the case, from 1
	seq    int64  // in the run
	made   time.Time
	lease  *lease // of the first attempt
	leave  func() // lets the next sample begin though this one has not ended; for its own goroutine, set by the worker
	span   Span   // nil: nothing was done for it yet
}

// trace begins the sample's span, which has its first acquire in it, ahead or not.
func (s *sample) trace() {
	if s.span == nil {
		s.span = s.run.span.Start("sample", "recipe", s.run.name, "case", s.id, "sample", strconv.Itoa(s.number))
	}
}

// send sends an event about the sample.
func (s *sample) send(e event.Event) {
	e.Case, e.Sample = s.id, s.number
	s.run.events.send(e)
}

// shownName is a name of which there are several (the id of a case, a sandbox) as it may be shown: without secrets, and
// still its own.
func shownName(m *mask.Mask, name string, number int) string {
	shown := m.Text(name)
	if shown != name {
		shown += "~" + strconv.Itoa(number)
	}
	return shown
}

// artifactPath names the folder of a sample's artifacts: artifacts/RECIPE/CASE/SAMPLE.
func artifactPath(recipe, caseID string, sample int) string {
	return path.Join("artifacts", event.FileName(recipe), event.FileName(caseID), strconv.Itoa(sample))
}

// specs returns the specs of the sandboxes for the steps.
func (s *sample) specs(attempt int) ([]wanted, error) {
	r := s.run
	return r.specs.make(r.layout.mainBoxes, r.group(s.seq, "s"+strconv.Itoa(attempt)), s.id, s.number,
		r.namesOf(s.row, s.number))
}

// execute runs the sample, repeats it after errors of infrastructure where that is safe, and records its end.
func (s *sample) execute() event.Verdict {
	s.trace()
	start := time.Now()
	queue := start.Sub(s.made).Seconds()
	s.send(event.Event{Type: event.TypeSampleStart})
	ahead := s.lease
	for number := 1; ; number++ {
		a := newAttempt(s, number)
		a.execute(ahead)
		result := a.result()
		result.Duration = time.Since(start).Seconds()
		result.Phases["queue"] = queue
		s.run.pace.worked(time.Since(start) - time.Duration(result.Phases["acquire"]*float64(time.Second)))
		if number > s.run.opts.InfraRetries || !a.mayRepeat() || !sleep(s.run.waiting, infraBackoff(number)) {
			s.send(event.Event{Type: event.TypeSampleEnd, SampleEnd: &result})
			s.span.End(string(result.Verdict), result.Message)
			return result.Verdict
		}
		s.send(event.Event{Type: event.TypeInfraRetry, SampleEnd: &result})
		if result.Dir != "" {
			// The next attempt's artifacts are the sample's; if they cannot be removed, making them again says so.
			_ = os.RemoveAll(filepath.Join(s.run.opts.Dir, filepath.FromSlash(result.Dir)))
		}
		start, ahead = time.Now(), nil
	}
}

// result sums the attempt up. The worst step decides; of several as bad the first does.
func (a *attempt) result() event.Sample {
	res := event.Sample{
		Fields: fields(a.sample.row.Fields), Verdict: event.Skipped, Phases: a.phases, Reused: a.reused,
		Steps: make([]event.StepResult, len(a.ends)),
	}
	if a.number > 1 {
		res.Tries = a.number
	}
	if a.artifacts.made.Load() {
		res.Dir = a.artifacts.path
	}
	decide := func(v event.Verdict, r event.Reason, message string, line int) {
		if worse(v, res.Verdict) {
			res.Verdict, res.Reason, res.Message, res.Line = v, r, message, line
		}
	}
	trouble := func() { // that nothing was amiss with the artifacts makes no verdict
		if t := a.trouble; t.verdict != event.Passed {
			decide(t.verdict, t.reason, t.message, t.line)
		}
	}
	troubled := false
	for i, end := range a.ends {
		res.Steps[i] = end.row()
		s := a.run.layout.all[i]
		if s.part == partVerify && !troubled { // collecting comes between
			troubled = true
			trouble()
		}
		switch {
		case !end.counts():
			decide(event.Passed, "", "", 0)
		case end.verdict == event.Passed || end.verdict == event.Skipped:
			decide(end.verdict, "", "", 0)
		case end.verdict == event.NotRun && !a.interrupted():
			// a consequence of what decides
		default:
			decide(end.verdict, end.reason, end.describe(), end.event.Line)
		}
		res.Flaky = res.Flaky || end.event.Flaky && !end.tolerant // the sample would have passed without another try
	}
	trouble()
	res.Flaky = res.Flaky && res.Verdict == event.Passed
	return res
}
