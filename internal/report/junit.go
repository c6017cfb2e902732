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
// order that it wants. Paths of attachments are relative to cwd, an absolute folder. It reads the log once more and holds
// what was in flight at one time.
func JUnit(w io.Writer, l *Log, cwd string) error {
	summary := l.Summary()
	all := junitSuite{}
	for _, s := range l.suites {
		all.add(s)
	}
	buf := bufio.NewWriterSize(w, 64<<10)
	x := newXMLWriter(buf)
	x.start("testsuites", all.attrs("sbxrun", summary.Last.Sub(summary.Start))...)
	for _, r := range summary.Recipes {
		attrs := l.suite(r.Name).attrs(r.Name, r.Last.Sub(r.Begin))
		x.start("testsuite", append(attrs, attr{"timestamp", r.Begin.UTC().Format("2006-01-02T15:04:05")})...)
		if r.Reused > 0 {
			x.start("properties")
			x.element("property", "", attr{"name", "reused"}, attr{"value", strconv.Itoa(r.Reused)})
			x.end("properties")
		}
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
	buf.WriteByte('\n')
	return buf.Flush()
}

// junitSuite counts test cases.
type junitSuite struct{ tests, failures, errors, skipped int }

func (s *junitSuite) add(other *junitSuite) {
	s.tests += other.tests
	s.failures += other.failures
	s.errors += other.errors
	s.skipped += other.skipped
}

func (s *junitSuite) count(v event.Verdict) {
	s.tests++
	switch v {
	case event.Failed:
		s.failures++
	case event.Error:
		s.errors++
	case event.Skipped, event.NotRun:
		s.skipped++
	}
}

func (s *junitSuite) attrs(name string, took time.Duration) []attr {
	return []attr{
		{"name", junitName(name)}, {"tests", strconv.Itoa(s.tests)}, {"failures", strconv.Itoa(s.failures)},
		{"errors", strconv.Itoa(s.errors)}, {"skipped", strconv.Itoa(s.skipped)}, {"time", junitTime(took)},
	}
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
		x.element("failure", outputText(c.body()), c.problem()...)
	}
	c.writeTries(x, kind+"Failure", event.Failed)
	switch c.verdict {
	case event.Skipped, event.NotRun:
		x.element("skipped", "", attr{"message", firstLine(c.message)})
	case event.Error:
		x.element("error", outputText(c.body()), c.problem()...)
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
		x.element("stackTrace", outputText(join(try.message, try.details)))
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
