package report

import (
	"fmt"
	"strings"
)

// Markdown is the report for people, as GitHub shows it, in at most size bytes: what does not fit is left out from the end,
// by whole causes.
func Markdown(r *Report, size int) string {
	var b strings.Builder
	b.WriteString("### " + verdictWord(r) + ": " + code(countsLine(r.Totals)) + "\n\n")
	b.WriteString("| recipe | passed | failed | errors | skipped | not run | flaky |\n|---|--:|--:|--:|--:|--:|--:|\n")
	parts := []string{b.String()}
	for _, recipe := range r.Recipes {
		t := recipe.Totals
		parts = append(parts, fmt.Sprintf("| %s | %d | %d | %d | %d | %d | %d |\n",
			strings.ReplaceAll(code(recipe.Name), "|", `\|`), t.Passed, t.Failed, t.Errors, t.Skipped, t.NotRun, t.Flaky))
	}
	parts = append(parts, "\n")
	if line := reusedLine(r); line != "" {
		parts = append(parts, line+"\n\n")
	}
	for _, recipe := range r.Recipes {
		for _, g := range recipe.Gates {
			if !g.Held {
				parts = append(parts, fmt.Sprintf("- gate %s of %s does not hold: %s\n", code(g.Source), code(recipe.Name), code(g.Message)))
			}
		}
	}
	for _, c := range r.Causes {
		parts = append(parts, markdownCause(c))
	}
	for _, s := range r.Left {
		parts = append(parts, "- left behind: "+code(s)+"\n")
	}
	for _, s := range r.Warnings {
		parts = append(parts, "- warning: "+code(s)+"\n")
	}

	const rest = "\nMore is in report.json.\n"
	var out strings.Builder
	for i, part := range parts {
		room := size - out.Len()
		if i < len(parts)-1 {
			room -= len(rest)
		}
		if len(part) > room {
			if out.Len()+len(rest) <= size {
				out.WriteString(rest)
			}
			break
		}
		out.WriteString(part)
	}
	return out.String()
}

func markdownCause(c Cause) string {
	var b strings.Builder
	f := c.First
	fmt.Fprintf(&b, "\n**%s** %s", failWord(f.Verdict), code(fullName(f.Recipe, f.ID, f.Sample)))
	if c.Count > 1 {
		fmt.Fprintf(&b, " and %d more with the same cause", c.Count-1)
	}
	if f.File != "" {
		fmt.Fprintf(&b, ", %s", code(place(f)))
	}
	b.WriteString("\n\n")
	var text strings.Builder
	text.WriteString(reasonLine(f))
	for _, finding := range c.Findings {
		if !saidBy(f, finding) {
			text.WriteString("\n" + finding.Expect + ": " + finding.Message)
		}
		if finding.Diff != "" {
			text.WriteString("\n" + finding.Diff)
		}
	}
	for _, s := range streams(c) {
		text.WriteString("\n" + s.name + ":\n" + s.tail)
	}
	b.WriteString(fence(text.String()))
	return b.String()
}

// code is text in a line as code: no markup of it counts.
func code(s string) string {
	s = terminalLine(s)
	if s == "" {
		return "``"
	}
	ticks := strings.Repeat("`", longestRun(s)+1)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	return ticks + s + ticks
}

// fence is text as a block of code.
func fence(s string) string {
	s = strings.TrimRight(terminalText(s), "\n")
	ticks := strings.Repeat("`", max(longestRun(s)+1, 3))
	return ticks + "text\n" + s + "\n" + ticks + "\n"
}

// longestRun is the length of the longest run of backticks.
func longestRun(s string) int {
	longest, run := 0, 0
	for i := range len(s) {
		if s[i] != '`' {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}
