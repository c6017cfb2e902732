package golden

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v5"
)

// reports DIR [merged]: everything in the folder of a run agrees with what is promised about it: each event with the schema, the
// results and report.json with the events, junit.xml with the rules of JUnit. A
// folder of merged reports has no events of its own.
func reports(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 || len(args) == 2 && args[1] != "merged" {
		ts.Fatalf("usage: reports DIR [merged]")
	}
	check := validRun
	if len(args) == 2 {
		check = validReports
	}
	ts.Check(check(ts.MkAbs(args[0])))
}

// validRun checks everything in the folder of a run.
func validRun(dir string) error {
	all, err := readResults(dir)
	if err != nil {
		return err
	}
	return errors.Join(validEvents(dir, len(all)), validReports(dir))
}

// validReports checks what is made from events.
func validReports(dir string) error {
	all, err := readResults(dir)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(dir, "junit.xml"))
	if err != nil {
		return err
	}
	return errors.Join(validReport(dir, all), validJUnit(data))
}

var eventSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.Draft = jsonschema.Draft2020
	c.AssertFormat = true
	return c.Compile("../../schemas/events.schema.json")
})

// validEvents holds every line of events.jsonl against the schema, and counts the samples that ended.
func validEvents(dir string, samples int) error {
	schema, err := eventSchema()
	if err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(dir, "events.jsonl"))
	if err != nil {
		return err
	}
	n, ended := 0, 0
	last := ""
	for line := range bytes.Lines(data) {
		n++
		var e any
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.UseNumber()
		if err := dec.Decode(&e); err != nil {
			return fmt.Errorf("events.jsonl:%d: %w", n, err)
		}
		if err := schema.Validate(e); err != nil {
			return fmt.Errorf("events.jsonl:%d: %#v\n%s", n, err, line)
		}
		last, _ = e.(map[string]any)["type"].(string)
		if last == "sample.end" {
			ended++
		}
	}
	if last != "run.end" {
		return fmt.Errorf("events.jsonl ends with %q, not with run.end", last)
	}
	if ended != samples {
		return fmt.Errorf("%d samples ended in events.jsonl, results.jsonl has %d", ended, samples)
	}
	return nil
}

// validReport compares the totals of report.json with the results.
func validReport(dir string, all []result) error {
	data, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		return err
	}
	type counts struct {
		Total, Passed, Failed, Errors, Flaky int
		NotRun                               int `json:"not_run"`
	}
	var report struct {
		Recipes []struct {
			Name   string
			Totals counts
		}
	}
	if err := json.Unmarshal(data, &report); err != nil {
		return fmt.Errorf("report.json: %w", err)
	}
	want := map[string]counts{}
	for _, r := range all {
		c := want[r.Recipe]
		if r.Verdict == "not_run" {
			continue
		}
		c.Total++
		switch r.Verdict {
		case "passed":
			c.Passed++
		case "failed":
			c.Failed++
		case "error":
			c.Errors++
		}
		if r.Flaky {
			c.Flaky++
		}
		want[r.Recipe] = c
	}
	for _, r := range report.Recipes {
		r.Totals.Total, r.Totals.NotRun = r.Totals.Total-r.Totals.NotRun, 0 // no line of results.jsonl
		if r.Totals != want[r.Name] {
			return fmt.Errorf("report.json says %+v of %s, results.jsonl %+v", r.Totals, r.Name, want[r.Name])
		}
	}
	return nil
}

type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Tests   int          `xml:"tests,attr"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Suites   []any       `xml:"testsuite"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name     string         `xml:"name,attr"`
	Class    string         `xml:"classname,attr"`
	File     string         `xml:"file,attr"`
	Time     string         `xml:"time,attr"`
	Failures []junitOutcome `xml:"failure"`
	Errors   []junitOutcome `xml:"error"`
	Skipped  []junitOutcome `xml:"skipped"`
}

type junitOutcome struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Body    string `xml:",chardata"`
}

var (
	seconds   = regexp.MustCompile(`^[0-9]+\.[0-9]{3}$`)
	camelCase = regexp.MustCompile(`^([A-Z][a-z0-9]*|[A-Z]+)+$`)
)

// validJUnit holds a report against the rules of the format: one level of suites with counts that are those of their
// cases, names that are unique, one outcome a case whose message its body begins with, and no CDATA.
func validJUnit(data []byte) error {
	var all junitSuites
	if err := xml.Unmarshal(data, &all); err != nil {
		return fmt.Errorf("junit.xml: %w", err)
	}
	if bytes.Contains(data, []byte("<![CDATA[")) || bytes.ContainsRune(data, '\x1b') {
		return fmt.Errorf("junit.xml has CDATA or an escape sequence")
	}
	tests, seen := 0, map[string]bool{}
	for _, s := range all.Suites {
		var failures, errs, skipped int
		for _, c := range s.Cases {
			failures, errs, skipped = failures+len(c.Failures), errs+len(c.Errors), skipped+len(c.Skipped)
			if err := c.valid(); err != nil {
				return fmt.Errorf("junit.xml: %s: %s: %w", c.Class, c.Name, err)
			}
			id := c.Class + "\x00" + c.Name
			if seen[id] {
				return fmt.Errorf("junit.xml: %s: %s comes twice", c.Class, c.Name)
			}
			seen[id] = true
		}
		if got, want := fmt.Sprint(s.Tests, s.Failures, s.Errors, s.Skipped), fmt.Sprint(len(s.Cases), failures, errs, skipped); got != want {
			return fmt.Errorf("junit.xml: suite %s counts %s, has %s", s.Name, got, want)
		}
		if len(s.Suites) > 0 {
			return fmt.Errorf("junit.xml: suite %s has suites in it", s.Name)
		}
		tests += s.Tests
	}
	if tests != all.Tests {
		return fmt.Errorf("junit.xml: %d tests in all, the suites have %d", all.Tests, tests)
	}
	return nil
}

func (c junitCase) valid() error {
	outcomes := append(append(append([]junitOutcome(nil), c.Failures...), c.Errors...), c.Skipped...)
	switch {
	case c.Name == "" || c.Class == "":
		return fmt.Errorf("has no name or classname")
	case !seconds.MatchString(c.Time):
		return fmt.Errorf("time %q is not seconds with three decimals", c.Time)
	case c.File == "" || filepath.IsAbs(c.File):
		return fmt.Errorf("file %q is no path below the working directory", c.File)
	case len(outcomes) > 1:
		return fmt.Errorf("has %d outcomes", len(outcomes))
	}
	for _, o := range append(c.Failures, c.Errors...) {
		first, _, _ := strings.Cut(o.Body, "\n")
		if !camelCase.MatchString(o.Type) {
			return fmt.Errorf("type %q is not a reason in camel case", o.Type)
		}
		if o.Message == "" || first != o.Message {
			return fmt.Errorf("message %q, but the body begins with %q", o.Message, first)
		}
	}
	return nil
}
