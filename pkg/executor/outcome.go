package executor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sbxrun/sbxrun/internal/check"
	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// outcome is how one try of a step ended.
type outcome struct {
	verdict  event.Verdict
	reason   event.Reason
	message  string
	line     int // in the recipe, of what is not a step
	findings []event.Finding
	exit     int
	signal   int
	duration time.Duration
	stdout   event.Stream
	stderr   event.Stream

	ran    bool          // there is a command's outcome, for captures and expressions
	result check.Outcome // of it
	golden []check.Update
	// overall is true where the sample's or the run's time is over, or the sandbox is gone: it counts whatever
	// continue_on_error says, and nothing is tried again.
	overall bool
	// tolerant is what continue_on_error says.
	tolerant bool
	// cutShort is true where that was the run's.
	cutShort bool
	// repeatable is true of an infrastructure error after which trying in a new sandbox may help.
	repeatable bool
}

func passed() outcome { return outcome{verdict: event.Passed} }

// failed is a failure that the code under test or the recipe caused.
func failed(reason event.Reason, format string, args ...any) outcome {
	return outcome{verdict: event.Failed, reason: reason, message: event.Cut(fmt.Sprintf(format, args...), maxRecorded)}
}

func notRun(why string) outcome { return outcome{verdict: event.NotRun, message: why} }

// broken is an error of infrastructure, or of sbxrun.
func broken(reason event.Reason, what string, err error) outcome {
	if p, ok := errors.AsType[*panicError](err); ok {
		reason, err = event.ReasonInternal, p
	}
	return outcome{verdict: event.Error, reason: reason, message: event.Cut(what+": "+cause(err).Error(), maxRecorded), repeatable: repeatable(err)}
}

// cause is what a provider says went wrong, without the operation and the sandbox's id: what was done is said beside it,
// and causes that are alike must read alike in all samples.
func cause(err error) error {
	e := &sandbox.Error{}
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// repeatable says whether an error may not come again in a new sandbox: only what a provider says, and not of what it
// cannot give.
func repeatable(err error) bool {
	e, ok := errors.AsType[*sandbox.Error](err)
	if !ok {
		return false
	}
	switch e.Kind {
	case sandbox.KindUnavailable, sandbox.KindLost, sandbox.KindInternal:
		return true
	}
	return false
}

// interruption is why nothing was said of what an interrupted run was about to do.
const interruption = "interrupted"

// refused is the outcome of a call on a sandbox that returned an error: what was done, and the reason if the sandbox or the
// way to it failed. What the code under test has made in the sandbox may be to blame.
func refused(ctx context.Context, b *box, what string, reason event.Reason, err error) outcome {
	if t, ok := errors.AsType[*timeoutError](context.Cause(ctx)); ok {
		o := failed(event.ReasonTimeout, "%s: %v", what, t)
		o.overall, o.cutShort = t.limit.outer(), t.limit.ofRun()
		return o
	}
	if ctx.Err() != nil {
		return notRun(interruption)
	}
	if a, ok := errors.AsType[*artifactError](err); ok {
		return failed(a.reason, "%s: %v", what, a)
	}
	switch sandbox.KindOf(err) {
	case sandbox.KindLost:
		if b.hasDied() {
			return died(what)
		}
		o := broken(event.ReasonLost, what, err)
		o.overall = true
		return o
	case sandbox.KindNoSpace:
		return failed(event.ReasonDisk, "%s: %v; see limits.disk and limits.inodes", what, cause(err))
	case sandbox.KindInvalid, sandbox.KindNotFound:
		if b.shaped() {
			return failed(event.ReasonArtifact, "%s: %v", what, cause(err))
		}
	}
	return broken(reason, what, err)
}

// died is the outcome of what needs a sandbox that the code under test has killed.
func died(what string) outcome {
	o := failed(event.ReasonSignal, "%s: the sandbox's own first process was killed", what)
	o.overall = true
	return o
}

// artifactError is something in a sandbox that is not taken out of it: what the code under test did wrong.
type artifactError struct {
	reason event.Reason
	text   string
}

func (e *artifactError) Error() string { return e.text }

func unfit(format string, args ...any) error {
	return &artifactError{reason: event.ReasonArtifact, text: fmt.Sprintf(format, args...)}
}

// worse says whether a decides over b: error, failed, then the rest.
func worse(a, b event.Verdict) bool { return severity(a) > severity(b) }

func severity(v event.Verdict) int {
	switch v {
	case event.Error:
		return 4
	case event.Failed:
		return 3
	case event.NotRun:
		return 2
	case event.Passed:
		return 1
	}
	return 0 // skipped
}
