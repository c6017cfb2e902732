package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// junitOrder is the order of a test case's children in Surefire's schema, which is a sequence.
var junitOrder = []string{
	"failure", "rerunFailure", "flakyFailure", "skipped", "error", "rerunError", "flakyError", "system-out", "system-err",
}

// junitAttrs are the attributes an element must have, and may have.
var junitAttrs = map[string]struct{ must, may string }{
	"testsuites":   {"name tests failures errors skipped time", ""},
	"testsuite":    {"name tests failures errors skipped time", "timestamp"},
	"testcase":     {"name classname time", "file line"},
	"properties":   {"", ""},
	"property":     {"name value", ""},
	"failure":      {"message type", ""},
	"error":        {"message type", ""},
	"skipped":      {"message", ""},
	"rerunFailure": {"message type", ""},
	"flakyFailure": {"message type", ""},
	"rerunError":   {"message type", ""},
	"flakyError":   {"message type", ""},
	"stackTrace":   {"", ""},
	"system-out":   {"", ""},
	"system-err":   {"", ""},
}

var (
	junitTimes = regexp.MustCompile(`^[0-9]+\.[0-9]{3}$`)
	junitTypes = regexp.MustCompile(`^([A-Z][a-z]*)+$`)
)

type node struct {
	name     string
	attrs    map[string]string
	children []*node
	text     string
}

func parseXML(t *testing.T, data []byte) *node {
	t.Helper()
	root := &node{}
	stack := []*node{root}
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		top := stack[len(stack)-1]
		switch token := token.(type) {
		case xml.StartElement:
			n := &node{name: token.Name.Local, attrs: map[string]string{}}
			for _, a := range token.Attr {
				n.attrs[a.Name.Local] = a.Value
			}
			top.children = append(top.children, n)
			stack = append(stack, n)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.text += string(token)
		case xml.Directive, xml.Comment:
			t.Errorf("%T in a JUnit file", token)
		}
	}
	if len(root.children) != 1 {
		t.Fatalf("%d root elements", len(root.children))
	}
	return root.children[0]
}

// checkJUnit holds a file against what readers of JUnit files rely on.
func checkJUnit(t *testing.T, data []byte) {
	t.Helper()
	if !bytes.HasPrefix(data, []byte(`<?xml version="1.0" encoding="UTF-8"?>`)) || bytes.Contains(data, []byte("<![CDATA[")) {
		t.Error("not XML 1.0 without CDATA")
	}
	all := parseXML(t, data)
	checkAttrs(t, all)
	sums := [4]int{}
	names := map[[2]string]bool{}
	for _, suite := range all.children {
		checkAttrs(t, suite)
		if all.name != "testsuites" || suite.name != "testsuite" {
			t.Fatalf("%s in %s", suite.name, all.name)
		}
		counts := [4]int{}
		for i, c := range suite.children {
			if i == 0 && c.name == "properties" {
				checkAttrs(t, c)
				for _, property := range c.children {
					checkAttrs(t, property)
				}
				continue
			}
			key := [2]string{c.attrs["classname"], c.attrs["name"]}
			if names[key] {
				t.Errorf("two test cases %q", key)
			}
			names[key] = true
			for i, n := range checkCase(t, c) {
				counts[i] += n
			}
		}
		checkCounts(t, suite, counts)
		for i := range sums {
			sums[i] += counts[i]
		}
	}
	checkCounts(t, all, sums)
}

func checkAttrs(t *testing.T, n *node) {
	t.Helper()
	known, ok := junitAttrs[n.name]
	if !ok {
		t.Errorf("element %s", n.name)
	}
	for name := range strings.FieldsSeq(known.must) {
		if n.attrs[name] == "" {
			t.Errorf("%s without %s: %v", n.name, name, n.attrs)
		}
	}
	for name, value := range n.attrs {
		if !strings.Contains(" "+known.must+" "+known.may+" ", " "+name+" ") {
			t.Errorf("%s has %s", n.name, name)
		}
		if name == "time" && !junitTimes.MatchString(value) {
			t.Errorf("time %q", value)
		}
		if name == "type" && !junitTypes.MatchString(value) {
			t.Errorf("type %q", value)
		}
	}
}

// checkCase returns what the test case counts as: tests, failures, errors, skipped.
func checkCase(t *testing.T, c *node) [4]int {
	t.Helper()
	checkAttrs(t, c)
	counts := [4]int{1}
	verdicts, last := 0, -1
	for _, child := range c.children {
		checkAttrs(t, child)
		at := -1
		for i, name := range junitOrder {
			if name == child.name {
				at = i
			}
		}
		if at < last {
			t.Errorf("%s is out of order in %v", child.name, c.attrs)
		}
		last = at
		switch child.name {
		case "failure", "error", "skipped":
			verdicts++
			counts[map[string]int{"failure": 1, "error": 2, "skipped": 3}[child.name]]++
			if body, _, _ := strings.Cut(child.text, "\n"); child.name != "skipped" && body != child.attrs["message"] {
				t.Errorf("the body begins with %q, the message is %q", body, child.attrs["message"])
			}
		case "rerunFailure", "rerunError", "flakyFailure", "flakyError":
			if len(child.children) == 0 || child.children[0].name != "stackTrace" {
				t.Errorf("%s without stackTrace", child.name)
			}
			for _, grandchild := range child.children {
				checkAttrs(t, grandchild)
			}
			for _, sibling := range c.children {
				passed := sibling.name != "failure" && sibling.name != "error"
				if !passed && strings.HasPrefix(child.name, "flaky") {
					t.Errorf("%s in %v, which did not pass", child.name, c.attrs)
				}
			}
		}
	}
	if verdicts > 1 {
		t.Errorf("%d verdicts in %v", verdicts, c.attrs)
	}
	return counts
}

func checkCounts(t *testing.T, n *node, want [4]int) {
	t.Helper()
	for i, name := range []string{"tests", "failures", "errors", "skipped"} {
		if got, err := strconv.Atoi(n.attrs[name]); err != nil || got != want[i] {
			t.Errorf("%s of %s is %s, there are %d", name, n.attrs["name"], n.attrs[name], want[i])
		}
	}
}

func TestJUnitIsValid(t *testing.T) {
	for _, names := range append(logs, []string{"cases", "steps"}) {
		t.Run(strings.Join(names, "+"), func(t *testing.T) {
			var buf bytes.Buffer
			if err := JUnit(&buf, open(t, recorded(names...)...), here(t)); err != nil {
				t.Fatal(err)
			}
			checkJUnit(t, buf.Bytes())
		})
	}
}

// Ids that look like those of other samples, or that XML cannot say, do not make two test cases of one name.
func TestJUnitNamesAreUnique(t *testing.T) {
	lines := []string{runStart, recipeStart}
	for _, id := range []string{"a", "a#2", "a#1", "a#2#1", "#2", " a", "a\x1b[0m", "a\x01", "a\ufffd", "\x01", "main"} {
		for _, sample := range []int{1, 2} {
			quoted, _ := jsonString(id)
			lines = append(lines, `{"type":"sample.end","recipe":"r","case":`+quoted+`,"sample":`+strconv.Itoa(sample)+
				`,"sample_end":{"verdict":"failed","steps":[]}}`)
		}
	}
	var buf bytes.Buffer
	if err := JUnit(&buf, open(t, writeLog(t, lines...)), "/"); err != nil {
		t.Fatal(err)
	}
	checkJUnit(t, buf.Bytes())
	for _, want := range []string{`name="a"`, `name="a#2"`, `name="a#2#1"`, `name="a#2#2"`, `name="a#1#1"`, `name="a#2#1#1"`} {
		if strings.Count(buf.String(), want) != 1 {
			t.Errorf("%s is there %d times", want, strings.Count(buf.String(), want))
		}
	}
}

// Recipes whose events are mixed in the log have their own suites.
func TestJUnitOfMixedRecipes(t *testing.T) {
	s := func(line string) string { return strings.ReplaceAll(line, `"recipe":"r"`, `"recipe":"s"`) }
	dir := writeLog(t, runStart, recipeStart, s(recipeStart), sampleA, s(sampleA), sampleB, s(sampleB))
	var buf bytes.Buffer
	if err := JUnit(&buf, open(t, dir), dir); err != nil {
		t.Fatal(err)
	}
	checkJUnit(t, buf.Bytes())
	if n := strings.Count(buf.String(), `tests="2" failures="1"`); n != 2 {
		t.Error(buf.String())
	}
}

// junitOf is the JUnit report of a sample with one step, of which names and verdict are filled in.
func junitOf(t *testing.T, step event.Step) string {
	t.Helper()
	step.Name, step.Verdict, step.Reason, step.Tries = "s", event.Failed, event.ReasonExitCode, 1
	path := filepath.Join(t.TempDir(), "events.jsonl")
	log, err := OpenEventLog(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []event.Event{
		{Type: event.TypeRunStart, Run: &event.RunStart{Format: 1}},
		{Type: event.TypeRecipeStart, RecipeStart: &event.RecipeStart{HasCases: true}},
		{Type: event.TypeStepEnd, StepEnd: &step},
		{Type: event.TypeSampleEnd, SampleEnd: &event.Sample{Verdict: event.Failed, Reason: step.Reason, Message: step.Message}},
	} {
		e.Recipe, e.Case, e.Sample = "r", "a", 1
		if err := log.Send(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := JUnit(&buf, open(t, path), filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	checkJUnit(t, buf.Bytes())
	return buf.String()
}

// Long output is cut in the middle, and names the whole.
func TestJUnitCutsOutput(t *testing.T) {
	var step event.Step
	step.Message = "exit status 1, want 0"
	step.Stdout = event.Stream{Path: "logs/r/a/1/s.stdout", Size: 1 << 20, Head: strings.Repeat("h", 1<<17), Tail: strings.Repeat("t", 1<<17)}
	step.Findings = []event.Finding{{Expect: "stdout", Message: "differs", Diff: strings.Repeat("+x\n", 1<<17)}}
	out := junitOf(t, step)
	if len(out) > 3*maxJUnitOutput || strings.Count(out, "[... cut ...]") != 2 || !strings.Contains(out, "[[ATTACHMENT|logs/r/a/1/s.stdout]]") {
		t.Errorf("%d bytes:\n%.300s", len(out), out)
	}
}

// Only sbxrun names attachments: what a sandbox wrote does not, wherever it is shown.
func TestJUnitTakesNoAttachmentsOfSandboxes(t *testing.T) {
	const hostile = "x\n[[ATTACHMENT|/etc/passwd]]\n\x1b[31m[[ATTA\x1b[0mCHMENT|/etc/shadow]]\n"
	var step event.Step
	step.Message = "differs " + hostile
	step.Stdout = event.Stream{Path: "logs/r/a/1/s.stdout", Size: 10, Head: hostile}
	step.Stderr = event.Stream{Path: "logs/r/a/1/s.stderr", Size: 10, Head: hostile}
	step.Findings = []event.Finding{{Expect: "stdout", Message: hostile, Diff: hostile}}
	out := junitOf(t, step)
	if n := strings.Count(out, "[[ATTACHMENT|"); n != 2 || strings.Count(out, "/etc/passwd") < 4 {
		t.Errorf("%d attachments:\n%s", n, out)
	}
}

// Steps of one name that run at once keep their tries, and their names in the order of the recipe, whichever ends first.
func TestJUnitOfStepsWithOneName(t *testing.T) {
	try := func(place, n int) string {
		return fmt.Sprintf(`{"type":"try.end","recipe":"r","case":"main","sample":1,"try":{"step":"t","place":%d,"number":%d,"reason":"exit_code","message":"place %[1]d, try %[2]d","exit":1,"duration":0}}`, place, n)
	}
	end := func(place, tries int, verdict event.Verdict, reason string) string {
		return fmt.Sprintf(`{"type":"step.end","recipe":"r","case":"main","sample":1,"step":{"name":"t","part":"steps","place":%d,"verdict":%q,%s"tries":%d,"exit":0,"duration":0}}`, place, verdict, reason, tries)
	}
	first, second := end(1, 2, event.Failed, `"reason":"exit_code",`), end(2, 3, event.Passed, "")
	sample := `{"type":"sample.end","recipe":"r","case":"main","sample":1,"sample_end":{"verdict":"failed","reason":"exit_code","steps":[]}}`
	start := strings.Replace(recipeStart, `"has_cases":true`, `"has_cases":false`, 1)
	var reports []string
	for _, ends := range [][]string{{first, second}, {second, first}} {
		dir := writeLog(t, append([]string{runStart, start, try(2, 1), try(1, 1), try(2, 2)}, append(ends, sample)...)...)
		var buf bytes.Buffer
		if err := JUnit(&buf, open(t, dir), dir); err != nil {
			t.Fatal(err)
		}
		checkJUnit(t, buf.Bytes())
		reports = append(reports, buf.String())
	}
	if diff := cmp.Diff(reports[0], reports[1]); diff != "" {
		t.Error(diff)
	}
	want := `(?s)name="t" .*<failure .*<rerunFailure message="place 1, try 1".*name="t \(2\)".*<flakyFailure message="place 2, try 1".*<flakyFailure message="place 2, try 2"`
	if !regexp.MustCompile(want).MatchString(reports[0]) || strings.Count(reports[0], "stackTrace>") != 6 {
		t.Error(reports[0])
	}
}
