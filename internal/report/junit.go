package report

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// JUnit writes junit.xml: what the JUnit plugins of CI systems read in common, with the elements for flaky tests of
// Maven Surefire's schema (https://maven.apache.org/surefire/maven-surefire-plugin/xsd/surefire-test-report.xsd) in the
// order that it wants. Paths of attachments are relative to cwd, an absolute folder. It reads the log twice, since counts
// precede what they count, and holds one sample at a time.
func JUnit(w io.Writer, l *Log, cwd string) error {
	summary := l.Summary()
	suites := make([]junitSuite, 0, len(summary.Recipes))
	all := junitSuite{name: "sbxrun", time: summary.Last.Sub(summary.Start)}
	for _, r := range summary.Recipes {
		s := junitSuite{name: r.Name, time: r.Last.Sub(r.Begin), began: r.Begin}
		err := l.junitCases(r, cwd, func(c *junitCase) error {
			s.count(c)
			all.count(c)
			return nil
		})
		if err != nil {
			return err
		}
		suites = append(suites, s)
	}

	buf := bufio.NewWriterSize(w, 64<<10)
	x := newXMLWriter(buf)
	x.start("testsuites", all.attrs()...)
	for i, r := range summary.Recipes {
		x.start("testsuite", suites[i].attrs()...)
		err := l.junitCases(r, cwd, func(c *junitCase) error {
			c.write(x)
			return x.err
		})
		if err != nil {
			return err
		}
		x.end("testsuite")
	}
	x.end("testsuites")
	if err := x.flush(); err != nil {
		return err
	}
	return buf.Flush()
}

// junitSuite counts the test cases of a recipe.
type junitSuite struct {
	name                             string
	tests, failures, errors, skipped int
	time                             time.Duration
	began                            time.Time // zero: left out
}

func (s *junitSuite) count(c *junitCase) {
	s.tests++
	switch c.verdict {
	case event.Failed:
		s.failures++
	case event.Error:
		s.errors++
	case event.Skipped, event.NotRun:
		s.skipped++
	}
}

func (s *junitSuite) attrs() []attr {
	attrs := []attr{
		{"name", suiteName(s.name)}, {"tests", strconv.Itoa(s.tests)}, {"failures", strconv.Itoa(s.failures)},
		{"errors", strconv.Itoa(s.errors)}, {"skipped", strconv.Itoa(s.skipped)}, {"time", junitTime(s.time)},
	}
	if !s.began.IsZero() {
		attrs = append(attrs, attr{"timestamp", s.began.UTC().Format("2006-01-02T15:04:05")})
	}
	return attrs
}

func junitTime(d time.Duration) string { return fmt.Sprintf("%.3f", max(d, 0).Seconds()) }

// junitCase is a testcase.
type junitCase struct {
	name, class string
	file        string
	line        int
	time        time.Duration
	verdict     event.Verdict
	reason      event.Reason
	message     string // its first line is an attribute
	details     string // below the message
	again       []junitTry
	out, err    string
}

// junitTry is a try before the last one: flaky where the test passed in the end, else a rerun.
type junitTry struct {
	verdict  event.Verdict
	reason   event.Reason
	message  string
	details  string
	out, err string
}

func (c *junitCase) write(x *xmlWriter) {
	attrs := []attr{{"name", c.name}, {"classname", c.class}}
	if c.file != "" {
		attrs = append(attrs, attr{"file", c.file})
	}
	if c.line > 0 {
		attrs = append(attrs, attr{"line", strconv.Itoa(c.line)})
	}
	x.start("testcase", append(attrs, attr{"time", junitTime(c.time)})...)
	kind := "rerun"
	if c.verdict == event.Passed {
		kind = "flaky"
	}
	if c.verdict == event.Failed {
		x.element("failure", c.body(), c.problem()...)
	}
	c.writeTries(x, kind+"Failure", event.Failed)
	switch c.verdict {
	case event.Skipped, event.NotRun:
		x.element("skipped", "", attr{"message", firstLine(c.message)})
	case event.Error:
		x.element("error", c.body(), c.problem()...)
	}
	c.writeTries(x, kind+"Error", event.Error)
	if c.out != "" {
		x.element("system-out", c.out)
	}
	if c.err != "" {
		x.element("system-err", c.err)
	}
	x.end("testcase")
}

func (c *junitCase) writeTries(x *xmlWriter, name string, verdict event.Verdict) {
	for _, try := range c.again {
		if try.verdict != verdict {
			continue
		}
		x.start(name, attr{"message", firstLine(try.message)}, attr{"type", camelCase(try.reason, try.verdict)})
		x.element("stackTrace", join(try.message, try.details))
		if try.out != "" {
			x.element("system-out", try.out)
		}
		if try.err != "" {
			x.element("system-err", try.err)
		}
		x.end(name)
	}
}

func (c *junitCase) problem() []attr {
	return []attr{{"message", firstLine(c.message)}, {"type", camelCase(c.reason, c.verdict)}}
}

func (c *junitCase) body() string { return join(c.message, c.details) }
