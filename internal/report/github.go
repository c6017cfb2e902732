package report

import (
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	maxAnnotations = 10      // GitHub shows no more of a step
	maxStepSummary = 1 << 20 // GitHub drops what is larger
)

// annotate writes gates that do not hold and the most frequent causes as workflow commands, which GitHub shows beside the
// recipe's line.
func annotate(w io.Writer, r *Report) error {
	var commands []string
	for _, recipe := range r.Recipes {
		for _, g := range recipe.Gates {
			if !g.Held {
				commands = append(commands, errorCommand(recipe.File, g.Line, recipe.Name, "gate "+g.Source+" does not hold: "+g.Message))
			}
		}
	}
	for _, c := range r.Causes {
		f := c.First
		commands = append(commands, errorCommand(f.File, f.Line, fullName(f.Recipe, f.ID, f.Sample), causeLine(c)))
	}
	_, err := io.WriteString(w, strings.Join(commands[:min(len(commands), maxAnnotations)], ""))
	return err
}

func errorCommand(file string, line int, title, message string) string {
	place := ""
	if file != "" {
		place = "file=" + commandProperty(file) + ","
	}
	if line > 0 {
		place += fmt.Sprintf("line=%d,", line)
	}
	return fmt.Sprintf("::error %stitle=%s::%s\n", place, commandProperty(cutEnd(title, 200)), commandData(cutEnd(terminalText(message), 1000)))
}

// causeLine says what is wrong, and of how many.
func causeLine(c Cause) string {
	line := reasonLine(c.First)
	if c.Count > 1 {
		line += fmt.Sprintf(" (and %d more with the same cause)", c.Count-1)
	}
	return line
}

var dataEscapes = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")

// commandData is text as the message of a workflow command, commandProperty as a value before it.
func commandData(s string) string { return dataEscapes.Replace(s) }

var propertyEscapes = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")

func commandProperty(s string) string { return propertyEscapes.Replace(terminalLine(s)) }

// appendSummary appends to the job's summary what fits.
func appendSummary(path string, r *Report) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, Markdown(r, maxStepSummary-1-int(info.Size())))
	return err
}
