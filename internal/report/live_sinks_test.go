package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// record sends recorded events to the sinks, each in the order of its log.
func record(t *testing.T, name string, sinks ...event.Sink) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name, "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sink := event.Tee(sinks...)
	for e, err := range event.Read(f) {
		if err != nil {
			t.Fatal(err)
		}
		if err := sink.Send(e); err != nil {
			t.Fatal(err)
		}
	}
}

// A recorded log that is sent again is the same log, and the live results are those that are made from it.
func TestEventLogAndResults(t *testing.T) {
	dir := t.TempDir()
	log, err := OpenEventLog(filepath.Join(dir, "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	results, err := OpenResults(filepath.Join(dir, "results.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	record(t, "cases", log, results)
	if err := errors.Join(log.Close(), results.Close()); err != nil {
		t.Fatal(err)
	}
	live, err := os.ReadFile(filepath.Join(dir, "results.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "cases.results.jsonl", live)
	var again bytes.Buffer
	if err := ResultLines(&again, open(t, dir), dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(live), again.String()); diff != "" {
		t.Errorf("live and again (-live +again):\n%s", diff)
	}
	if diff := cmp.Diff(open(t, "testdata/cases").Report().Totals, open(t, dir).Report().Totals); diff != "" {
		t.Error(diff)
	}
}

func TestOpenMendsTheTail(t *testing.T) {
	line := `{"type":"warning","message":"m"}` + "\n"
	long := `{"type":"warning","message":"` + strings.Repeat("x", 200<<10)
	for _, test := range []struct{ name, before, want string }{
		{"new", "", ""},
		{"whole", line, line},
		{"torn", line + line[:10], line},
		{"torn first", line[:10], ""},
		{"torn and long", line + long, line},
		{"zeros", line + "\x00\x00", line},
		{"only the newline is missing", line + line[:len(line)-1], line + line},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "events.jsonl")
			if test.before != "" {
				if err := os.WriteFile(path, []byte(test.before), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			l, err := OpenEventLog(path)
			if err != nil {
				t.Fatal(err)
			}
			e := event.Event{Type: event.TypeWarning, Message: "n"}
			if err := errors.Join(l.Send(e), l.Close()); err != nil {
				t.Fatal(err)
			}
			got, _ := os.ReadFile(path)
			last := `{"time":"0001-01-01T00:00:00Z","type":"warning","message":"n"}` + "\n"
			if string(got) != test.want+last {
				t.Errorf("the log is %.200q", got)
			}
		})
	}
}

// What Send has taken is there though the process is killed the next moment. The test runs itself as that process.
func TestEventLogSurvivesKill(t *testing.T) {
	if path := os.Getenv("REPORT_TEST_LOG"); path != "" {
		l, err := OpenEventLog(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 1000 {
			if err := l.Send(event.Event{Type: event.TypeWarning, Message: fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
		}
		p, _ := os.FindProcess(os.Getpid())
		p.Kill()
		select {}
	}
	path := filepath.Join(t.TempDir(), "events.jsonl")
	cmd := exec.Command(os.Args[0], "-test.run=^TestEventLogSurvivesKill$")
	cmd.Env = append(os.Environ(), "REPORT_TEST_LOG="+path)
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Fatalf("the process was not killed: %s", out)
	}
	data, err := os.ReadFile(path)
	if n := bytes.Count(data, []byte("\n")); err != nil || n != 1000 {
		t.Errorf("%d lines, %v", n, err)
	}
}

func TestEventLogIsConcurrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	l, err := OpenEventLog(path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if err := l.Send(event.Event{Type: event.TypeWarning, Message: strings.Repeat("x", 5000)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for _, err := range event.Read(f) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 1600 {
		t.Errorf("%d events", n)
	}
}

// The disk is full: that is an error, once and for all, and no half line stays.
func TestEventLogWithoutSpace(t *testing.T) {
	l, err := OpenEventLog("/dev/full")
	if err != nil {
		t.Fatal(err)
	}
	e := event.Event{Type: event.TypeWarning, Message: "m"}
	for range 2 {
		if err := l.Send(e); err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("error %v", err)
		}
	}
	if err := l.Close(); err == nil {
		t.Error("closed as if all was well")
	}
}

// Values that no line can hold do not end a run, and the event that others see is not changed.
func TestEventLogOddValues(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	l, err := OpenEventLog(path)
	if err != nil {
		t.Fatal(err)
	}
	captures := map[string]any{"nan": math.NaN(), "inf": map[string]any{"x": math.Inf(1)}, "huge": strings.Repeat("x", event.MaxLine), "n": 1}
	step := event.Step{Name: "s", Captures: captures}
	sample := event.Sample{Verdict: event.Passed, Steps: []event.StepResult{{Name: "s", Captures: captures}}}
	err = errors.Join(
		l.Send(event.Event{Type: event.TypeStepEnd, Recipe: "r", StepEnd: &step}),
		l.Send(event.Event{Type: event.TypeSampleEnd, Recipe: "r", SampleEnd: &sample}),
		l.Close())
	if err != nil {
		t.Fatal(err)
	}
	if len(captures["huge"].(string)) != event.MaxLine {
		t.Error("the event was changed")
	}
	f, _ := os.Open(path)
	defer f.Close()
	want := map[string]any{"nan": nil, "inf": nil, "huge": "(left out: 16777218 bytes)", "n": json.Number("1")}
	for e, err := range event.Read(f) {
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if e.StepEnd != nil {
			got = e.StepEnd.Captures
		} else {
			got = e.SampleEnd.Steps[0].Captures
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", e.Type, diff)
		}
	}
	if err := l.Send(event.Event{Type: event.TypeWarning, Message: strings.Repeat("x", event.MaxLine+1)}); err == nil {
		t.Error("a line that cannot be read was written")
	}
}
