package report

import (
	"fmt"
	"strings"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// lines are the lines that an event adds for good.
func (c *Console) lines(e event.Event, o *outcome) string {
	switch e.Type {
	case event.TypeRunStart:
		if c.Verbose {
			return fmt.Sprintf("run %s, provider %s, %s\n", terminalLine(e.Run.ID), terminalLine(e.Run.Provider), terminalLine(e.Run.Dir))
		}
	case event.TypeRecipeStart:
		return c.recipeLine(e)
	case event.TypeWarning:
		if c.warnings < messagesShown {
			c.warnings++
			return c.style.yellow("warning") + ": " + terminalLine(cutEnd(withRecipe(e), maxMessage)) + "\n"
		}
	case event.TypeTryEnd:
		if c.showsSteps(e) {
			return c.line(e, "again", e.Try.Step, fmt.Sprintf("try %d: %s", e.Try.Number, firstLine(messageOf(*e.Try))))
		}
	case event.TypeStepEnd:
		if c.showsSteps(e) {
			return c.stepLine(e)
		}
	case event.TypeInfraRetry:
		if c.Verbose {
			return c.line(e, "again", "", firstLine(e.SampleEnd.Message))
		}
	case event.TypeSampleEnd:
		return c.sampleLine(e, o)
	case event.TypeRecipeEnd:
		return c.recipeEndLines(e)
	}
	return ""
}

func (c *Console) recipeLine(e event.Event) string {
	s := e.RecipeStart
	line := terminalLine(e.Recipe)
	if s.Total >= 0 && (s.HasCases || s.Samples > 1) {
		line += fmt.Sprintf(": %s, %d at a time", samples(s.Total), max(s.Pool, 1))
	}
	return line + "\n"
}

// showsSteps says whether single steps are shown: of a recipe with one sample, or of all.
func (c *Console) showsSteps(e event.Event) bool {
	r := c.built.summary.Recipe(e.Recipe)
	return c.Verbose || r != nil && !r.Start.HasCases && r.Start.Samples <= 1
}

func (c *Console) stepLine(e event.Event) string {
	s := e.StepEnd
	word, message := verdictShort(s.Verdict), duration(s.Duration)
	switch s.Verdict {
	case event.Skipped, event.NotRun:
		message = firstLine(s.Message)
	case event.Failed, event.Error:
		message += "  " + firstLine(messageOf(s.Try))
		if s.Tolerated {
			word = "fail"
			message += " (continue_on_error)"
		}
	}
	return c.line(e, word, s.Name, message)
}

func (c *Console) sampleLine(e event.Event, o *outcome) string {
	s := e.SampleEnd
	took := duration(seconds(s.Duration))
	if s.Verdict != event.Failed && s.Verdict != event.Error {
		switch {
		case !c.Verbose:
			return ""
		case s.Flaky:
			return c.line(e, "FLAKY", "", took)
		}
		return c.line(e, verdictShort(s.Verdict), "", took)
	}
	f := c.built.failure(o)
	if !c.Verbose && !c.mayShow(f) {
		return ""
	}
	return c.line(e, failWord(s.Verdict), "", took+"  "+firstLine(reasonLine(f)))
}

// mayShow bounds the failures that are shown as they happen: what comes again and again is shown at the end.
func (c *Console) mayShow(f Failure) bool {
	if c.failures >= failuresShown {
		return false
	}
	key := keyOfCause(f)
	c.shown[key]++
	if c.shown[key] > sameCauseShown {
		return false
	}
	c.failures++
	return true
}

// line is a line about a sample, or about a step of it.
func (c *Console) line(e event.Event, word, step, message string) string {
	name := fullName(e.Recipe, e.Case, e.Sample)
	if step != "" {
		name += " " + step
	}
	return fmt.Sprintf("%s %s  %s\n", c.style.padded(word), short(name), c.style.faint(short(message)))
}

func (c *Console) recipeEndLines(e event.Event) string {
	r := c.built.summary.Recipe(e.Recipe)
	var b strings.Builder
	if e.RecipeEnd.Stopped != "" {
		fmt.Fprintf(&b, "%s: stopped by %s, %d not run\n", terminalLine(e.Recipe), terminalLine(e.RecipeEnd.Stopped), r.NotRun)
	}
	for _, g := range e.RecipeEnd.Gates {
		word := "ok"
		if !g.Held {
			word = "FAIL"
		}
		fmt.Fprintf(&b, "%s gate %s  %s\n", c.style.padded(word), terminalLine(g.Source), c.style.faint(terminalLine(g.Message)))
	}
	if r.Start.HasCases || r.Start.Samples > 1 {
		fmt.Fprintf(&b, "%s: %s\n", terminalLine(e.Recipe), countsLine(totals(r.Counts)))
	}
	return b.String()
}

// progress is a line now and then where nothing is redrawn, so that nobody takes a long run for one that hangs.
func (c *Console) progress() string {
	now := c.Now()
	if now.Sub(c.lastProgress) < progressInterval || c.recipe == nil {
		return ""
	}
	c.lastProgress = now
	return c.progressLine(now) + "\n"
}

func failWord(v event.Verdict) string {
	if v == event.Error {
		return "ERROR"
	}
	return "FAIL"
}

func verdictShort(v event.Verdict) string {
	switch v {
	case event.Passed:
		return "ok"
	case event.Skipped:
		return "skip"
	case event.NotRun:
		return "-"
	}
	return failWord(v)
}
