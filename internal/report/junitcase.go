package report

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// maxJUnitOutput bounds a stream, and the details of a failure, in a test case.
const maxJUnitOutput = 64 << 10

// junitCases makes the test cases of a recipe: its samples, or in a recipe without cases their steps. Of a sample that
// did not end, the steps that did are there.
func (l *Log) junitCases(r *event.RecipeSummary, cwd string, each func(*junitCase) error) error {
	var t tracker
	emit := func(o *outcome, p *part) error {
		v := junitView{recipe: r, dir: p.dir, cwd: cwd}
		for _, c := range v.cases(o) {
			if err := each(c); err != nil {
				return err
			}
		}
		return nil
	}
	var last *part
	for e, err := range l.recipe(r.Name) {
		if err != nil {
			return err
		}
		if e.part != last {
			t, last = tracker{}, e.part
		}
		if o := t.add(e.Event); o != nil {
			if err := emit(o, e.part); err != nil {
				return err
			}
		}
	}
	for _, o := range l.unfinished(&t) {
		if err := emit(o, last); err != nil {
			return err
		}
	}
	return nil
}

// junitView makes test cases of the outcomes in one log.
type junitView struct {
	recipe   *event.RecipeSummary
	dir, cwd string // of the run, and what paths are relative to; absolute
}

// count counts the test cases of an outcome.
func (l *Log) count(o *outcome) {
	v := junitView{recipe: l.Summary().Recipe(o.Recipe)}
	suite := l.suite(o.Recipe)
	if o.SampleEnd != nil && v.recipe.Start.HasCases {
		suite.count(o.SampleEnd.Verdict)
		return
	}
	for _, c := range v.cases(o) {
		suite.count(c.verdict)
	}
}

func (l *Log) suite(recipe string) *junitSuite {
	if l.suites[recipe] == nil {
		l.suites[recipe] = &junitSuite{}
	}
	return l.suites[recipe]
}

// cases are the test cases of an outcome. Of a sample that did not end only its steps can be.
func (v *junitView) cases(o *outcome) []*junitCase {
	switch {
	case !v.recipe.Start.HasCases:
		return v.steps(o)
	case o.SampleEnd == nil:
		return nil
	}
	return []*junitCase{v.sample(o)}
}

func (v *junitView) sample(o *outcome) *junitCase {
	s := o.SampleEnd
	c := &junitCase{
		name: junitName(sampleName(o.Event)), class: junitName(v.recipe.Name), file: v.recipe.Start.File, line: o.line(),
		time: seconds(s.Duration), verdict: s.Verdict, reason: s.Reason, message: s.Message,
	}
	culprits := o.culprits()
	for _, step := range culprits {
		c.details = join(c.details, stepDetails(step.Name, step.Try))
		title := ""
		if len(culprits) > 1 {
			title = outputText("--- " + step.Name + " ---")
		}
		c.out = join(c.out, title, v.stream(step.Stdout))
		c.err = join(c.err, title, v.stream(step.Stderr))
	}
	c.details = cutMiddle(c.details, maxJUnitOutput)
	if s.Verdict != event.Skipped && s.Verdict != event.NotRun {
		for i := range o.steps {
			c.again = append(c.again, v.tries(&o.steps[i])...)
		}
		c.again = append(c.again, infraTries(o.infra)...)
	}
	c.fillMessage()
	return c
}

// steps makes a test case of each step, and one more where the sample failed though no step did.
func (v *junitView) steps(o *outcome) []*junitCase {
	var cases []*junitCase
	names := map[string]bool{}
	add := func(name string, c *junitCase) {
		unique := name
		for n := 2; names[unique]; n++ {
			unique = fmt.Sprintf("%s (%d)", name, n)
		}
		names[unique] = true
		named := o.Event
		named.Case = unique
		c.name, c.class, c.file = junitName(sampleName(named)), junitName(v.recipe.Name), v.recipe.Start.File
		c.fillMessage()
		cases = append(cases, c)
	}
	for i := range o.steps {
		step := &o.steps[i]
		c := &junitCase{
			line: step.Line, time: step.Duration, verdict: step.Verdict, reason: step.Reason, message: step.Message,
		}
		switch {
		case step.bad():
			c.details = cutMiddle(stepDetails("", step.Try), maxJUnitOutput)
			c.out, c.err = v.stream(step.Stdout), v.stream(step.Stderr)
		case step.Tolerated && step.Verdict != event.Passed:
			c.verdict, c.message = event.Passed, ""
			c.out = join(outputText("failed, which continue_on_error allows: "+step.Message), v.stream(step.Stdout))
			c.err = v.stream(step.Stderr)
		}
		if c.verdict != event.Skipped && c.verdict != event.NotRun {
			c.again = v.tries(step)
		}
		add(step.Name, c)
	}
	for _, step := range o.notEnded() {
		add(step.Name, &junitCase{verdict: step.Verdict, reason: step.Reason, time: seconds(step.Duration)})
	}
	if s := o.SampleEnd; s != nil && (s.Verdict == event.Failed || s.Verdict == event.Error) && o.culprit() == nil {
		add(string(s.Reason), &junitCase{
			line: s.Line, verdict: s.Verdict, reason: s.Reason, message: s.Message, again: infraTries(o.infra),
		})
	} else if len(cases) > 0 && len(o.infra) > 0 {
		cases[0].again = append(cases[0].again, infraTries(o.infra)...)
	}
	return cases
}

// fillMessage sees to it that the message says something, which readers of JUnit files show first.
func (c *junitCase) fillMessage() {
	if firstLine(c.message) != "" {
		return
	}
	switch {
	case c.verdict == event.Skipped:
		c.message = "the condition is false"
	case c.verdict == event.NotRun:
		c.message = "not run"
	case c.reason != "":
		c.message = string(c.reason)
	default:
		c.message = string(c.verdict)
	}
}

// tries are those before a step's last one. Of a step that failed in the end and is tolerated there are none: it is neither
// flaky nor what its test failed for.
func (v *junitView) tries(s *stepOutcome) []junitTry {
	if s.Tolerated && s.Verdict != event.Passed {
		return nil
	}
	var tries []junitTry
	for _, try := range s.earlier {
		if try.Reason == "" {
			continue
		}
		tries = append(tries, junitTry{
			verdict: event.Failed, reason: try.Reason, message: messageOf(try), details: cutMiddle(stepDetails(s.Name, try), maxJUnitOutput),
			out: v.stream(try.Stdout), err: v.stream(try.Stderr),
		})
	}
	return tries
}

func infraTries(samples []event.Sample) []junitTry {
	var tries []junitTry
	for _, s := range samples {
		tries = append(tries, junitTry{verdict: event.Error, reason: s.Reason, message: s.Message})
	}
	return tries
}

func messageOf(t event.Try) string {
	if firstLine(t.Message) == "" {
		return string(t.Reason)
	}
	return t.Message
}

// stepDetails are what did not hold in a try.
func stepDetails(name string, t event.Try) string {
	var b strings.Builder
	if name != "" {
		b.WriteString("\nstep " + name)
	}
	for _, f := range t.Findings {
		b.WriteString("\n" + f.Expect + ": " + strings.TrimRight(f.Message, "\n"))
		if f.Diff != "" {
			b.WriteString("\n" + strings.TrimRight(f.Diff, "\n"))
		}
	}
	return b.String()
}

// stream is a stream as text, cut in the middle where it is long, and where the whole is.
func (v *junitView) stream(s event.Stream) string {
	if s.Path == "" {
		return ""
	}
	text := streamText(s)
	path := relative(v.cwd, filepath.Join(v.dir, filepath.FromSlash(s.Path)))
	return join(cutMiddle(outputText(text), maxJUnitOutput), "[[ATTACHMENT|"+path+"]]")
}

// outputText is text of a sandbox for an element. A line such as the one above makes a reader of JUnit files take the file
// that it names: no text of a sandbox may say so.
func outputText(s string) string {
	return strings.ReplaceAll(xmlText(s), "[[ATTACHMENT|", "[[ATTACHMENT |")
}

func camelCase(r event.Reason, v event.Verdict) string {
	if r == "" {
		r = event.Reason(v)
	}
	var b strings.Builder
	for word := range strings.SplitSeq(string(r), "_") {
		if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}

// junitName is a name as XML can hold it, different where the names are.
func junitName(s string) string {
	name := strings.TrimSpace(xmlText(s))
	if name == s && name != "" {
		return name
	}
	sum := sha256.Sum256([]byte(s))
	return name + "~" + hex.EncodeToString(sum[:4])
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// join puts texts that are not empty below each other.
func join(texts ...string) string {
	var kept []string
	for _, t := range texts {
		if t != "" {
			kept = append(kept, t)
		}
	}
	return strings.Join(kept, "\n")
}
