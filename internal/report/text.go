package report

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/sbxrun/sbxrun/pkg/event"
)

const (
	maxLineShown = 500    // bytes of a line of output or of a diff
	onlyCase     = "main" // the case of a recipe without cases
)

// verdictWord is the whole run in a word.
func verdictWord(r *Report) string {
	if r.Exit != nil {
		switch *r.Exit {
		case 0:
			return "PASS"
		case 3:
			return "ERROR"
		case 130:
			return "INTERRUPTED"
		}
		if !r.Complete {
			return "INCOMPLETE"
		}
		return "FAIL"
	}
	word := "PASS"
	for _, recipe := range r.Recipes {
		for _, g := range recipe.Gates {
			if !g.Held {
				return "FAIL"
			}
		}
		if len(recipe.Gates) > 0 {
			continue
		}
		if recipe.Totals.Errors > 0 {
			word = "ERROR"
		} else if recipe.Totals.Failed > 0 && word == "PASS" {
			word = "FAIL"
		}
	}
	if !r.Complete {
		return "INCOMPLETE"
	}
	return word
}

// countsLine is counts in words, without those that are zero.
func countsLine(t Totals) string {
	var line strings.Builder
	line.WriteString(fmt.Sprintf("%d of %d passed", t.Passed, t.Total))
	for _, n := range []struct {
		count    int
		one, all string
	}{
		{t.Failed, "failed", "failed"}, {t.Errors, "error", "errors"}, {t.Skipped, "skipped", "skipped"}, {t.NotRun, "not run", "not run"},
		{t.Flaky, "flaky", "flaky"},
	} {
		switch {
		case n.count == 1:
			line.WriteString(", 1 " + n.one)
		case n.count > 1:
			line.WriteString(fmt.Sprintf(", %d %s", n.count, n.all))
		}
	}
	return line.String()
}

// reusedLine says how many samples did not have new sandboxes, or nothing.
func reusedLine(r *Report) string {
	n := 0
	for _, recipe := range r.Recipes {
		n += recipe.Reused
	}
	if n == 0 {
		return ""
	}
	return samples(n) + " ran in sandboxes that were reset, not made anew"
}

func samples(n int) string {
	if n == 1 {
		return "1 sample"
	}
	return fmt.Sprintf("%d samples", n)
}

// reasonLine is what went wrong: the step, if one decided, and its message.
func reasonLine(f Failure) string {
	message := f.Message
	if firstLine(message) == "" {
		message = string(f.Reason)
	}
	if f.Step != "" && !strings.HasPrefix(message, f.Step+": ") {
		return f.Step + ": " + message
	}
	return message
}

// place is where to look, as editors understand it.
func place(f Failure) string {
	if f.Line > 0 {
		return fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	return f.File
}

// fullName is how people call a sample: by its recipe alone where that has no cases.
func fullName(recipe, id string, sample int) string {
	switch {
	case id != onlyCase:
		return recipe + "/" + sampleName(event.Event{Case: id, Sample: sample})
	case sample > 1:
		return fmt.Sprintf("%s#%d", recipe, sample)
	}
	return recipe
}

type namedTail struct{ name, path, tail string }

const wordWidth = 5 // of the words before lines

// streams are the ends of the output that is not in a diff already, the more telling stream first.
func streams(c Cause) []namedTail {
	about := func(stream string) bool {
		for _, f := range c.Findings {
			if f.Diff != "" && strings.HasPrefix(f.Expect, stream) {
				return true
			}
		}
		return false
	}
	var found []namedTail
	add := func(name string, s event.Stream) {
		text := streamText(s)
		if strings.TrimSpace(text) != "" && s.Path != "" && !about(name) {
			found = append(found, namedTail{name, path.Join(c.dir, s.Path), lastLines(text, 10)})
		}
	}
	add("stderr", c.Stderr)
	add("stdout", c.Stdout)
	return found
}

// short is a name, or a message of a line, as a terminal may show it.
func short(s string) string { return terminalLine(cutEnd(s, maxLineShown)) }

// streamText is what is known of a stream, and a line where something is missing.
func streamText(s event.Stream) string {
	if s.Tail == "" || int64(len(s.Head)+len(s.Tail)) == s.Size {
		return s.Head + s.Tail
	}
	return fmt.Sprintf("%s\n[... cut; %d bytes in all ...]\n%s", s.Head, s.Size, s.Tail)
}

// lastLines is the last n lines of text, each of a bounded length.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	lines = lines[max(len(lines)-n, 0):]
	for i := range lines {
		lines[i] = cutEnd(lines[i], maxLineShown)
	}
	return strings.Join(lines, "\n")
}

// duration is a time as people read it.
func duration(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// style colours text, or does not.
type style bool

func (s style) with(text string, attrs ...ansi.Attr) string {
	if !s {
		return text
	}
	return ansi.NewStyle(attrs...).Styled(text)
}

func (s style) red(text string) string    { return s.with(text, ansi.AttrRedForegroundColor) }
func (s style) green(text string) string  { return s.with(text, ansi.AttrGreenForegroundColor) }
func (s style) yellow(text string) string { return s.with(text, ansi.AttrYellowForegroundColor) }
func (s style) faint(text string) string  { return s.with(text, ansi.AttrFaint) }

// word is a verdict, coloured as what it says.
func (s style) word(word string) string {
	color := ansi.AttrRedForegroundColor
	switch word {
	case "PASS", "ok":
		color = ansi.AttrGreenForegroundColor
	case "INTERRUPTED", "INCOMPLETE", "skip", "-", "FLAKY", "again", "fail":
		color = ansi.AttrYellowForegroundColor
	}
	return s.with(word, ansi.AttrBold, color)
}

// padded is word, as wide as others are.
func (s style) padded(word string) string {
	return s.word(word) + strings.Repeat(" ", max(wordWidth-len(word), 0))
}

// diff is a unified diff, indented.
func (s style) diff(diff, indent string) string {
	var b strings.Builder
	for line := range strings.Lines(terminalText(diff)) {
		line = cutEnd(strings.TrimRight(line, "\n"), maxLineShown)
		switch {
		case strings.HasPrefix(line, "+"):
			line = s.green(line)
		case strings.HasPrefix(line, "-"):
			line = s.red(line)
		case strings.HasPrefix(line, "@@"):
			line = s.faint(line)
		}
		b.WriteString(indent + line + "\n")
	}
	return b.String()
}

// reportPaths groups paths by their folder.
func reportPaths(paths []string) []string {
	var lines []string
	last := ""
	for _, p := range paths {
		dir, name := filepath.Split(p)
		if len(lines) > 0 && dir == last {
			lines[len(lines)-1] += ", " + name
			continue
		}
		lines = append(lines, p)
		last = dir
	}
	return lines
}
