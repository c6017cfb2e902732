package report

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// Bounds of a Report.
const (
	maxCauses   = 100
	maxOthers   = 10
	maxFailures = 1000
	maxMessages = 1000 // of each kind
	maxMessage  = 2 << 10
	maxDiff     = 16 << 10 // of all findings of a cause together
	maxOutput   = 8 << 10  // of a stream
)

// builder folds events to a Report. Its memory does not grow with the number of samples.
type builder struct {
	summary  event.Summary
	tracker  tracker
	causes   []*causeSoFar // oldest first
	byKey    map[causeKey]*causeSoFar
	failures []Failure
	warnings []string
	left     []string
	updated  []string
	dir      string // of the run, as seen from the working directory

	// What went beyond the bounds.
	otherCauses int
}

type causeKey struct {
	recipe, step string
	reason       event.Reason
	message      string
}

func keyOfCause(f Failure) causeKey {
	return causeKey{f.Recipe, f.Step, f.Reason, normalize(firstLine(f.Message), f.ID)}
}

type causeSoFar struct {
	Cause
	key causeKey
}

// add takes the next event and is the outcome of the sample that it ends, if it ends one.
func (b *builder) add(e event.Event) *outcome {
	b.summary.Add(e)
	o := b.tracker.add(e)
	switch e.Type {
	case event.TypeWarning:
		b.warnings = appendBounded(b.warnings, withRecipe(e))
	case event.TypeLeft:
		b.left = appendBounded(b.left, e.Message)
	case event.TypeRunEnd:
		b.updated = append(b.updated, e.RunEnd.Updated...)
	case event.TypeSampleEnd:
		if v := e.SampleEnd.Verdict; v == event.Failed || v == event.Error {
			b.fail(o)
		}
	}
	return o
}

func appendBounded(list []string, s string) []string {
	if len(list) >= maxMessages {
		return list
	}
	return append(list, cutEnd(s, maxMessage))
}

func withRecipe(e event.Event) string {
	if e.Recipe == "" {
		return e.Message
	}
	return e.Recipe + ": " + e.Message
}

func (b *builder) fail(o *outcome) {
	f := b.failure(o)
	if len(b.failures) < maxFailures {
		b.failures = append(b.failures, f)
	}
	key := keyOfCause(f)
	if c := b.byKey[key]; c != nil {
		c.Count++
		if len(c.Others) < maxOthers {
			c.Others = append(c.Others, sampleName(o.Event))
		}
		return
	}
	if len(b.causes) >= maxCauses && !b.forgetRare() {
		b.otherCauses++
		return
	}
	c := &causeSoFar{Cause: detail(f, o), key: key}
	c.dir = b.dir
	if b.byKey == nil {
		b.byKey = map[causeKey]*causeSoFar{}
	}
	b.byKey[key] = c
	b.causes = append(b.causes, c)
}

// forgetRare makes room for another cause: the oldest that came once goes, so that one that comes often is found also
// after many that came once.
func (b *builder) forgetRare() bool {
	i := slices.IndexFunc(b.causes, func(c *causeSoFar) bool { return c.Count == 1 })
	if i < 0 {
		return false
	}
	delete(b.byKey, b.causes[i].key)
	b.causes = slices.Delete(b.causes, i, i+1)
	b.otherCauses++
	return true
}

func (b *builder) failure(o *outcome) Failure {
	s := o.SampleEnd
	f := Failure{
		Recipe: o.Recipe, ID: o.Case, Sample: o.Sample, Verdict: s.Verdict, Reason: s.Reason,
		Message: cutEnd(s.Message, maxMessage), Line: o.line(), Dir: s.Dir,
	}
	if step := o.culprit(); step != nil {
		f.Step = step.Name
		if f.Message == "" {
			f.Message = cutEnd(step.Message, maxMessage)
		}
	}
	if r := b.summary.Recipe(o.Recipe); r != nil {
		f.File = r.Start.File
	}
	return f
}

// detail is a cause with its first sample.
func detail(f Failure, o *outcome) Cause {
	c := Cause{Count: 1, First: f}
	step := o.culprit()
	if step == nil {
		return c
	}
	room := maxDiff
	for _, finding := range step.Findings {
		finding.Message = cutEnd(finding.Message, maxMessage)
		finding.Diff = cutMiddle(finding.Diff, room)
		c.Findings = append(c.Findings, finding)
		if room -= len(finding.Diff) + len(finding.Message) + len(finding.Expect); room <= 0 {
			break
		}
	}
	c.Stdout, c.Stderr = boundStream(step.Stdout), boundStream(step.Stderr)
	return c
}

// boundStream keeps both ends of a stream. What it cuts shows by Size.
func boundStream(s event.Stream) event.Stream {
	if len(s.Head)+len(s.Tail) <= maxOutput {
		return s
	}
	text := s.Head + s.Tail
	s.Head = strings.ToValidUTF8(s.Head[:min(len(s.Head), maxOutput/2)], "")
	s.Tail = strings.ToValidUTF8(text[len(text)-maxOutput/2:], "")
	return s
}

var numbers = regexp.MustCompile(`[0-9]+`)

// normalize makes messages equal that differ in the case's id, or the file's name in it, and in numbers.
func normalize(message, id string) string {
	base := path.Base(id)
	for _, name := range []string{id, base, strings.TrimSuffix(base, path.Ext(base))} {
		message = replaceWord(message, name, "<id>")
	}
	return numbers.ReplaceAllString(message, "#")
}

// replaceWord replaces word where no letter or digit is beside it.
func replaceWord(s, word, with string) string {
	if word == "" {
		return s
	}
	var b strings.Builder
	for from := 0; ; {
		i := strings.Index(s[from:], word)
		if i < 0 {
			b.WriteString(s[from:])
			return b.String()
		}
		i += from
		end := i + len(word)
		b.WriteString(s[from:i])
		if i > 0 && isWord(s[i-1]) || end < len(s) && isWord(s[end]) {
			b.WriteString(word)
		} else {
			b.WriteString(with)
		}
		from = end
	}
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c >= 0x80
}

// sampleName is how people and JUnit call a sample of a recipe with cases: its id, with #2 for the second. An id that
// ends that way always gets the number, so that names differ where samples do.
func sampleName(e event.Event) string {
	if e.Sample <= 1 && !numbered(e.Case) {
		return e.Case
	}
	return e.Case + "#" + strconv.Itoa(e.Sample)
}

func numbered(id string) bool {
	rest := strings.TrimRight(id, "0123456789")
	return rest != id && strings.HasSuffix(rest, "#")
}

// report is what the events so far come to.
func (b *builder) report() *Report {
	s := &b.summary
	r := &Report{
		Format: 1, Start: s.Start, Duration: s.Last.Sub(s.Start).Seconds(), Complete: len(s.Ends) == len(s.Runs) && len(s.Ends) > 0,
		Totals: totals(s.Counts), Failures: b.failures, OtherFailures: s.Failed + s.Errors - len(b.failures),
		OtherCauses: b.otherCauses, Warnings: b.warnings, OtherWarnings: s.Warnings - len(b.warnings),
		Left: b.left, OtherLeft: s.Left - len(b.left), Updated: b.updated,
	}
	if len(s.Ends) == 1 && len(s.Runs) == 1 {
		r.Exit = &s.Ends[0].Exit
	}
	for _, run := range s.Runs {
		r.Runs = append(r.Runs, Run{ID: run.ID, Version: run.Version, Provider: run.Provider, Dir: run.Dir, Shard: run.Shard})
	}
	for _, recipe := range s.Recipes {
		r.Recipes = append(r.Recipes, reportRecipe(recipe))
	}
	for _, c := range b.causes {
		r.Causes = append(r.Causes, c.Cause)
	}
	slices.SortStableFunc(r.Causes, func(a, b Cause) int { return cmp.Compare(b.Count, a.Count) })
	return r
}

func reportRecipe(s *event.RecipeSummary) Recipe {
	r := Recipe{
		Name: s.Name, File: s.Start.File, Digest: s.Start.Digest, Description: s.Start.Description,
		Duration: s.Last.Sub(s.Begin).Seconds(), Expected: s.Start.Total, Totals: totals(s.Counts), Reasons: s.Reasons,
		InfraRetries: s.InfraRetries, Reused: s.Reused, Stopped: s.Stopped, Gates: s.Gates,
	}
	if q := &s.Durations; q.N() > 0 {
		r.Durations = &Durations{
			Mean: q.Mean(), Min: q.Percentile(0), P50: q.Percentile(50), P90: q.Percentile(90), P95: q.Percentile(95),
			P99: q.Percentile(99), Max: q.Percentile(100),
		}
	}
	return r
}

func totals(c event.Counts) Totals {
	t := Totals{Counts: c}
	if rate, ok := c.PassRate(); ok {
		t.PassRate = &rate
	}
	if rate, ok := c.ErrorRate(); ok {
		t.ErrorRate = &rate
	}
	return t
}
