// Package event is the record of a run: the event types, where events go (Sink, Tee), and the fold from events to a
// summary. Reports are functions of recorded events. How events are shown belongs in internal/report, who sends
// them in the executor. It imports nothing of this project.
package event

import (
	"time"
)

// Verdict says how a step or a sample ended.
type Verdict string

// The verdicts. The worst step decides the sample: error, failed, passed; all steps skipped: skipped.
const (
	Passed  Verdict = "passed"
	Failed  Verdict = "failed"
	Error   Verdict = "error"
	Skipped Verdict = "skipped"
	NotRun  Verdict = "not_run"
)

// Reason says why a verdict is failed or error.
type Reason string

// The reasons of failed, then those of error.
const (
	ReasonAssertion Reason = "assertion"
	ReasonExitCode  Reason = "exit_code"
	ReasonSignal    Reason = "signal"
	ReasonTimeout   Reason = "timeout"
	ReasonOOM       Reason = "oom"
	ReasonPIDs      Reason = "pids"
	ReasonDisk      Reason = "disk"
	ReasonOutput    Reason = "output"
	ReasonArtifact  Reason = "artifact"

	ReasonAcquire  Reason = "acquire"
	ReasonStage    Reason = "stage"
	ReasonExec     Reason = "exec"
	ReasonLost     Reason = "lost"
	ReasonCollect  Reason = "collect"
	ReasonInternal Reason = "internal"
)

// Type names what an event tells.
type Type string

// The types of events, and which field of Event each carries.
const (
	TypeRunStart    Type = "run.start"    // Run
	TypeRecipeStart Type = "recipe.start" // RecipeStart
	TypeSampleStart Type = "sample.start" // no field
	TypeStepStart   Type = "step.start"   // StepStart
	TypeTryEnd      Type = "try.end"      // Try: one try of a step that is tried again
	TypeStepEnd     Type = "step.end"     // StepEnd
	TypeInfraRetry  Type = "infra.retry"  // Sample: a try of a whole sample that ended in error and is repeated
	TypeSampleEnd   Type = "sample.end"   // Sample
	TypeWarning     Type = "warning"      // Message
	TypeLeft        Type = "left"         // Message: something that could not be taken down, by name
	TypeRecipeEnd   Type = "recipe.end"   // RecipeEnd
	TypeRunEnd      Type = "run.end"      // RunEnd
)

// Event is one line of events.jsonl. Recipe, Case and Sample say what it is about, where it is about one.
//
// Secrets are masked in the texts of an event but for those with the tag `mask:"-"`: they are made of masked names (a path
// would lead nowhere otherwise), or are the program's own words.
type Event struct {
	Time   time.Time `json:"time"`
	Type   Type      `json:"type"`
	Recipe string    `json:"recipe,omitempty" mask:"-"` // the recipe's name, unique in the run
	Case   string    `json:"case,omitempty" mask:"-"`   // the case's id; "main" without cases
	Sample int       `json:"sample,omitempty"`          // from 1

	Run         *RunStart    `json:"run,omitempty"`
	RecipeStart *RecipeStart `json:"recipe_start,omitempty"`
	StepStart   *StepStart   `json:"step_start,omitempty"`
	Try         *Try         `json:"try,omitempty"`
	StepEnd     *Step        `json:"step,omitempty"`
	SampleEnd   *Sample      `json:"sample_end,omitempty"`
	RecipeEnd   *RecipeEnd   `json:"recipe_end,omitempty"`
	RunEnd      *RunEnd      `json:"run_end,omitempty"`
	Message     string       `json:"message,omitempty"`
}

// RunStart opens a log.
type RunStart struct {
	Format   int    `json:"format"` // of the log, 1
	ID       string `json:"id"`
	Version  string `json:"version"` // of sbxrun
	Provider string `json:"provider"`
	Dir      string `json:"dir"` // the run's folder, as logs and artifacts are named in it; absolute
	Cwd      string `json:"cwd"` // the working directory, absolute
	Shard    string `json:"shard,omitempty"`
}

// RecipeStart says what a recipe is and which gates its results must meet.
type RecipeStart struct {
	File        string         `json:"file"` // relative to the repository if in one, else to the working directory
	Digest      string         `json:"digest" mask:"-"`
	Description string         `json:"description,omitempty"`
	HasCases    bool           `json:"has_cases"`
	Samples     int            `json:"samples"`
	Total       int            `json:"total"` // samples to run, or -1 where it is not known ahead
	Pool        int            `json:"pool"`
	Vars        map[string]any `json:"vars,omitempty"`
	Gates       []Gate         `json:"gates,omitempty"`
	Steps       []string       `json:"steps,omitempty"` // names in order, for reports of recipes without cases
}

// Gate is a condition on the finished recipe.
type Gate struct {
	Source string `json:"source"`
	Line   int    `json:"line,omitempty"`
}

// StepStart says that a step began its first try.
type StepStart struct {
	Name    string `json:"name"`
	ID      string `json:"id,omitempty"`
	Part    string `json:"part" mask:"-"` // steps, finally or verify
	Sandbox string `json:"sandbox,omitempty"`
}

// Step is a step that ended. Its Try is the last one's outcome.
type Step struct {
	Name       string         `json:"name"`
	ID         string         `json:"id,omitempty"`
	Part       string         `json:"part" mask:"-"` // steps, finally or verify
	Sandbox    string         `json:"sandbox,omitempty"`
	Line       int            `json:"line,omitempty"` // in the recipe
	Verdict    Verdict        `json:"verdict"`
	Tolerated  bool           `json:"tolerated,omitempty"` // continue_on_error: the verdict does not count
	Flaky      bool           `json:"flaky,omitempty"`
	Background bool           `json:"background,omitempty"`
	Tries      int            `json:"tries"`
	Captures   map[string]any `json:"captures,omitempty"`
	Try
}

// Try is one try of a step.
type Try struct {
	Step     string        `json:"step,omitempty"`  // the step's name, in try.end
	Place    int           `json:"place,omitempty"` // of the step among all of the recipe, from 1, since names may come twice
	Number   int           `json:"number,omitempty"`
	Reason   Reason        `json:"reason,omitempty"`
	Message  string        `json:"message,omitempty"` // first line: what to read first
	Findings []Finding     `json:"findings,omitempty"`
	Exit     int           `json:"exit"`
	Signal   int           `json:"signal,omitempty"`
	Duration time.Duration `json:"duration"` // nanoseconds
	Stdout   Stream        `json:"stdout,omitzero"`
	Stderr   Stream        `json:"stderr,omitzero"`
}

// Finding is one expectation that does not hold.
type Finding struct {
	Expect  string `json:"expect"`         // such as stdout.contains, files["out.txt"].exists
	Message string `json:"message"`        // one or a few lines
	Diff    string `json:"diff,omitempty"` // want/got, unified
	Line    int    `json:"line,omitempty"` // in the recipe
}

// Stream is what is known of one output stream: the whole is in a file below logs/. Head and Tail are text for people,
// masked, with U+FFFD for what is not UTF-8; Tail is empty where Head is all.
type Stream struct {
	Path   string `json:"path,omitempty" mask:"-"` // relative to the run's folder; empty: nothing was written
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256,omitempty" mask:"-"`
	Head   string `json:"head,omitempty"`
	Tail   string `json:"tail,omitempty"`
	Cut    bool   `json:"cut,omitempty"` // the stream went beyond its limit
}

// Sample is a sample that ended: a line of results.jsonl without the names. Durations are seconds.
type Sample struct {
	Fields   map[string]any     `json:"case,omitempty"` // the case's fields
	Verdict  Verdict            `json:"verdict"`
	Reason   Reason             `json:"reason,omitempty"`
	Message  string             `json:"message,omitempty"`
	Flaky    bool               `json:"flaky,omitempty"`
	Reused   bool               `json:"reused,omitempty"`
	Duration float64            `json:"duration"`
	Phases   map[string]float64 `json:"phases,omitempty" mask:"-"` // queue, acquire, stage, run, collect, verify, release
	Steps    []StepResult       `json:"steps"`
	Tries    int                `json:"tries,omitempty"`        // tries of the sample after infrastructure errors; 1 is left out
	Dir      string             `json:"dir,omitempty" mask:"-"` // of artifacts, relative to the run's folder; empty: none
	Line     int                `json:"line,omitempty"`         // in the recipe, of the step that decided
}

// StepResult is a step in results.jsonl. Duration is in seconds. ID is what expressions and gates call the step;
// empty is the name.
type StepResult struct {
	Name     string         `json:"name"`
	ID       string         `json:"id,omitempty"`
	Verdict  Verdict        `json:"verdict"`
	Reason   Reason         `json:"reason,omitempty"`
	Exit     int            `json:"exit"`
	Duration float64        `json:"duration"`
	Tries    int            `json:"tries"`
	Captures map[string]any `json:"captures,omitempty"`
}

// RecipeEnd closes a recipe.
type RecipeEnd struct {
	Stopped string       `json:"stopped,omitempty" mask:"-"` // why not all samples ran: max-failures, timeout, interrupt
	NotRun  int          `json:"not_run,omitempty"`          // samples that were not started
	Gates   []GateResult `json:"gates,omitempty"`
}

// GateResult says whether a gate held and what its names were.
type GateResult struct {
	Gate
	Held    bool   `json:"held"`
	Message string `json:"message,omitempty"` // the values it saw, or why it could not be evaluated
}

// RunEnd closes a log.
type RunEnd struct {
	Exit     int           `json:"exit"` // the exit status
	Duration time.Duration `json:"duration"`
	Updated  []string      `json:"updated,omitempty"` // golden files written by --update
	Refused  bool          `json:"refused,omitempty"` // --update wrote nothing, though there was something to write
}

// Sink takes the events of a run. Send is called from many goroutines; what it has taken when it returns is kept
// even if the process is killed at that moment (for the sinks that write files). An error stops the run.
type Sink interface {
	Send(Event) error
}

// SinkFunc is a function as a Sink.
type SinkFunc func(Event) error

// Send calls f.
func (f SinkFunc) Send(e Event) error { return f(e) }

// Tee sends every event to all sinks, in order, and returns the first error after having tried all.
func Tee(sinks ...Sink) Sink {
	return SinkFunc(func(e Event) error {
		var first error
		for _, s := range sinks {
			if err := s.Send(e); err != nil && first == nil {
				first = err
			}
		}
		return first
	})
}
