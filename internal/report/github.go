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

// annotate writes the most frequent causes as workflow commands, which GitHub shows beside the recipe's line.
func annotate(w io.Writer, r *Report) error {
	var b strings.Builder
	for i, c := range r.Causes {
		if i == maxAnnotations {
			break
		}
		f := c.First
		b.WriteString("::error ")
		if f.File != "" {
			fmt.Fprintf(&b, "file=%s,", commandProperty(f.File))
		}
		if f.Line > 0 {
			fmt.Fprintf(&b, "line=%d,", f.Line)
		}
		message := cutEnd(terminalText(causeLine(c)), 1000)
		fmt.Fprintf(&b, "title=%s::%s\n", commandProperty(cutEnd(terminalLine(fullName(f.Recipe, f.ID, f.Sample)), 200)), commandData(message))
	}
	_, err := io.WriteString(w, b.String())
	return err
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
