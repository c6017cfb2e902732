package report

import (
	"fmt"
	"strings"

	"github.com/sbxrun/sbxrun/pkg/event"
)

const (
	causesShown   = 10
	messagesShown = 20
	messageLines  = 20 // of a message
)

// final is what a console shows last: causes, what else is to know, and a line that says it all.
func (c *Console) final(r *Report, reports []string) string {
	var b strings.Builder
	c.finalCauses(&b, r)
	if b.Len() > 0 && !c.Quiet {
		b.WriteString("\n")
	}
	causes := b.Len()
	for _, recipe := range r.Recipes {
		for _, g := range recipe.Gates {
			if !g.Held {
				fmt.Fprintf(&b, "%s gate of %s: %s: %s\n", c.style.word("FAIL"), short(recipe.Name), short(g.Source), short(g.Message))
			}
		}
	}
	shown := r.Warnings
	if !c.Quiet {
		shown = shown[min(c.warnings, len(shown)):] // the others were shown when they came
	}
	c.list(&b, c.style.yellow("warning"), shown, r.OtherWarnings)
	c.list(&b, c.style.red("left behind"), r.Left, r.OtherLeft)
	if len(r.Left) > 0 && len(r.Runs) > 0 {
		gc := "sbxrun gc"
		if provider := r.Runs[0].Provider; provider != "local" {
			gc += " --provider " + short(provider)
		}
		b.WriteString(gc + " removes what is left behind\n")
	}
	if !c.Quiet {
		c.list(&b, "updated", r.Updated, 0)
	}
	word := verdictWord(r)
	if c.Quiet && word == "PASS" {
		return b.String()
	}
	if b.Len() > causes && !c.Quiet {
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%s %s in %s\n", c.style.word(word), countsLine(r.Totals), duration(seconds(r.Duration)))
	if n := notEnded(r); n > 0 {
		fmt.Fprintf(&b, "the run was cut short: %s did not end\n", samples(n))
	}
	if !c.Quiet {
		if line := reusedLine(r); line != "" {
			b.WriteString(line + "\n")
		}
		for _, line := range reportPaths(reports) {
			b.WriteString(c.style.faint("reports: "+terminalLine(line)) + "\n")
		}
	}
	return b.String()
}

// notEnded counts the samples that a killed run did not come to.
func notEnded(r *Report) int {
	n := 0
	for _, recipe := range r.Recipes {
		if !r.Complete && recipe.Expected > recipe.Totals.Total {
			n += recipe.Expected - recipe.Totals.Total
		}
	}
	return n
}

func (c *Console) list(b *strings.Builder, title string, messages []string, others int) {
	for i, m := range messages {
		if i == messagesShown {
			others += len(messages) - i
			break
		}
		b.WriteString(title + ": " + terminalLine(m) + "\n")
	}
	if others > 0 {
		fmt.Fprintf(b, "%s: %d more, in events.jsonl\n", title, others)
	}
}

// finalCauses shows the most frequent causes with their first samples, and counts the rest.
func (c *Console) finalCauses(b *strings.Builder, r *Report) {
	limit := causesShown
	if c.Verbose {
		limit = maxCauses
	}
	rest := r.OtherCauses
	for i, cause := range r.Causes {
		if i >= limit {
			rest += cause.Count
			continue
		}
		if !c.Quiet {
			b.WriteString("\n")
		}
		c.cause(b, cause)
	}
	if rest > 0 {
		fmt.Fprintf(b, "\n%d more failed for other causes; results.jsonl has them all\n", rest)
	}
}

func (c *Console) cause(b *strings.Builder, cause Cause) {
	f := cause.First
	fmt.Fprintf(b, "%s %s", c.style.word(failWord(f.Verdict)), short(fullName(f.Recipe, f.ID, f.Sample)))
	if f.File != "" {
		b.WriteString(c.style.faint("  " + terminalLine(place(f))))
	}
	b.WriteString("\n")
	b.WriteString(indented(reasonLine(f)))
	if !c.Quiet {
		c.details(b, cause)
	}
	if cause.Count > 1 {
		fmt.Fprintf(b, "    %s\n", c.style.yellow(short(others(cause))))
	}
}

// details are the expectations that do not hold, and the ends of the output.
func (c *Console) details(b *strings.Builder, cause Cause) {
	for _, finding := range cause.Findings {
		if !saidBy(cause.First, finding) {
			b.WriteString(indented(finding.Expect + ": " + finding.Message))
		}
		b.WriteString(c.style.diff(finding.Diff, "      "))
	}
	for _, s := range streams(cause) {
		b.WriteString("    " + c.style.faint(terminalLine(s.name+" ("+s.path+")")+":") + "\n")
		for line := range strings.Lines(terminalText(s.tail)) {
			b.WriteString("      " + strings.TrimRight(line, "\n") + "\n")
		}
	}
}

// indented is a message, cut where it is long.
func indented(message string) string {
	var b strings.Builder
	n := 0
	for line := range strings.Lines(terminalText(message)) {
		if n++; n > messageLines {
			b.WriteString("    ...\n")
			break
		}
		b.WriteString("    " + cutEnd(strings.TrimRight(line, "\n"), maxLineShown) + "\n")
	}
	return b.String()
}

// saidBy says whether the failure's message has the finding's already.
func saidBy(f Failure, finding event.Finding) bool {
	return strings.Contains(f.Message, strings.TrimSpace(finding.Message))
}

func others(c Cause) string {
	line := fmt.Sprintf("%d more with the same cause: %s", c.Count-1, strings.Join(c.Others, ", "))
	if c.Count-1 > len(c.Others) {
		line += ", ..."
	}
	return line
}
