package check

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// limitTexts say what happened where a limit struck.
var limitTexts = map[event.Reason]string{
	event.ReasonTimeout: "it ran longer than its timeout",
	event.ReasonOutput:  "it wrote more output than limits.output allows",
	event.ReasonOOM:     "it needed more memory than limits.memory allows",
	event.ReasonPIDs:    "it needed more processes or threads than limits.pids allows",
	event.ReasonDisk:    "no space or inodes were left: see limits.disk and limits.inodes",
	event.ReasonSignal:  "the sandbox's own first process was killed",
}

// status checks limits and the exit status. It runs last: limits of processes and disk are the reason only of what
// failed anyway.
func (c *checker) status(exit *recipe.Exit, out Outcome) {
	accepted := out.Stopped || c.exit(exit, out)
	switch out.Limit {
	case "":
	case event.ReasonPIDs, event.ReasonDisk:
		// A limit is never accepted, but a command that went on in spite of it and did its work is.
		if out.Exit != 0 || len(c.findings)+len(c.golden) > 0 {
			c.limit(out)
		}
	case event.ReasonTimeout, event.ReasonOutput:
		c.struck = nil // the exit status is of our making
		c.limit(out)
	default:
		c.limit(out)
	}
	if c.reason != "" || accepted {
		return
	}
	c.reason = event.ReasonExitCode
	if out.Signal != 0 {
		c.reason = event.ReasonSignal
	}
}

// limit puts the limit before everything else.
func (c *checker) limit(out Outcome) {
	text := limitTexts[out.Limit]
	if out.LimitText != "" {
		text = out.LimitText
	}
	c.reason = out.Limit
	c.struck = slices.Insert(c.struck, 0, event.Finding{Expect: string(out.Limit), Message: text})
}

// exit checks the exit status.
func (c *checker) exit(e *recipe.Exit, out Outcome) bool {
	if e.Any {
		return true
	}
	want := []int{0}
	if e.Values != nil {
		v, err := e.Values.Eval(c.base)
		if v == "any" {
			return true
		}
		if err == nil {
			want, err = c.integers(v)
		}
		if err != nil {
			c.found(e.Pos, "exit", "", "the expected exit status cannot be told: %v", err)
			return true
		}
	}
	if slices.Contains(want, out.Exit) {
		return true
	}
	c.struck = append(c.struck, event.Finding{
		Expect: "exit", Line: e.Pos.Line,
		Message: fmt.Sprintf("%s, want %s%s", describeExit(out), list(want), c.lastWords(out)),
	})
	return false
}

func describeExit(out Outcome) string {
	switch {
	case out.Signal != 0:
		name := unix.SignalName(unix.Signal(out.Signal))
		if name == "" {
			name = "signal " + strconv.Itoa(out.Signal)
		}
		return fmt.Sprintf("killed by %s (exit status %d)", name, out.Exit)
	case out.Exit == 127:
		return "exit status 127 (a command was not found)"
	case out.Exit == 126:
		return "exit status 126 (a command could not be executed)"
	case out.Exit > 128 && unix.SignalName(unix.Signal(out.Exit-128)) != "":
		return fmt.Sprintf("exit status %d (a shell says so of a command killed by %s)", out.Exit, unix.SignalName(unix.Signal(out.Exit-128)))
	default:
		return "exit status " + strconv.Itoa(out.Exit)
	}
}

// lastWords quotes the last line of stderr: mostly it says why.
func (c *checker) lastWords(out Outcome) string {
	const tail = 4096
	src := orEmpty(out.Stderr)
	b, err := window(c.ctx, src, max(0, src.Size()-tail), tail)
	if err != nil {
		return "" // the status is the finding; an unreadable log is reported by whoever needs it
	}
	text := strings.TrimSpace(string(b))
	line := text[strings.LastIndexByte(text, '\n')+1:]
	if line == "" {
		return ""
	}
	return "; stderr ends with " + brief([]byte(line))
}

// integers reads a number or a list of numbers; text that is a number, as CSV fields are, is one.
func (c *checker) integers(v any) ([]int, error) {
	values, ok := v.([]any)
	if !ok {
		values = []any{v}
	}
	if len(values) == 0 {
		return nil, errors.New("the list is empty")
	}
	numbers := make([]int, len(values))
	for i, v := range values {
		n, err := c.integer(v)
		if err != nil {
			return nil, err
		}
		numbers[i] = int(n)
	}
	return numbers, nil
}

func (c *checker) integer(v any) (int64, error) {
	switch n := v.(type) {
	case int:
		return int64(n), nil
	case int64:
		return n, nil
	case uint64:
		if n < 1<<63 {
			return int64(n), nil
		}
	case float64:
		if i := int64(n); float64(i) == n {
			return i, nil
		}
	case string:
		if i, err := strconv.ParseInt(strings.TrimSpace(n), 10, 64); err == nil {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%s is not a whole number", brief(c.mask.Bytes(fmt.Append(nil, v))))
}

func list(numbers []int) string {
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = strconv.Itoa(n)
	}
	if len(texts) == 1 {
		return texts[0]
	}
	return "one of " + strings.Join(texts, ", ")
}
