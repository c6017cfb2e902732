package report

import (
	"time"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// Report is report.json: a run, or several merged, in bounded size. Durations are seconds. Fields are added to it,
// never taken away.
type Report struct {
	Format   int       `json:"format"` // 1
	Runs     []Run     `json:"runs"`   // one; several where shards were merged
	Start    time.Time `json:"start"`
	Duration float64   `json:"duration"`       // from the first event to the last
	Complete bool      `json:"complete"`       // false: a run was killed before its end
	Exit     *int      `json:"exit,omitempty"` // the exit status, where there is one
	Totals   Totals    `json:"totals"`
	Recipes  []Recipe  `json:"recipes"`

	// Causes are the samples that failed or ended in error, by what went wrong, the most frequent first; there are
	// OtherCauses more samples whose causes are not listed.
	Causes      []Cause `json:"causes,omitempty"`
	OtherCauses int     `json:"other_causes,omitempty"`
	// Failures are the samples themselves as they ended, up to a thousand; there are OtherFailures more.
	Failures      []Failure `json:"failures,omitempty"`
	OtherFailures int       `json:"other_failures,omitempty"`

	Warnings      []string `json:"warnings,omitempty"`
	OtherWarnings int      `json:"other_warnings,omitempty"`
	Left          []string `json:"left,omitempty"` // what could not be taken down
	OtherLeft     int      `json:"other_left,omitempty"`
	Updated       []string `json:"updated,omitempty"` // golden files written by --update
}

// Run is where results come from.
type Run struct {
	ID       string `json:"id"`
	Version  string `json:"version"`
	Provider string `json:"provider"`
	Dir      string `json:"dir"`
	Shard    string `json:"shard,omitempty"`
}

// Totals count samples. A rate is null where nothing was scored.
type Totals struct {
	event.Counts
	PassRate  *float64 `json:"pass_rate"`  // passed/(passed+failed)
	ErrorRate *float64 `json:"error_rate"` // errors/(passed+failed+errors)
}

// Recipe is one recipe's results.
type Recipe struct {
	Name         string               `json:"name"`
	File         string               `json:"file"`
	Digest       string               `json:"digest"`
	Description  string               `json:"description,omitempty"`
	Duration     float64              `json:"duration"` // from the first event to the last
	Expected     int                  `json:"expected"` // samples to run, -1 where it is not known
	Totals       Totals               `json:"totals"`
	Reasons      map[event.Reason]int `json:"reasons,omitempty"`
	InfraRetries int                  `json:"infra_retries,omitempty"`
	Reused       int                  `json:"reused,omitempty"` // samples in sandboxes that were used before
	Durations    *Durations           `json:"durations,omitempty"`
	Stopped      string               `json:"stopped,omitempty"` // why not all samples ran
	Gates        []event.GateResult   `json:"gates,omitempty"`
}

// Durations describe the samples that passed or failed.
type Durations struct {
	Mean float64 `json:"mean"`
	Min  float64 `json:"min"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
}

// Failure is a sample that failed or ended in error.
type Failure struct {
	Recipe  string        `json:"recipe"`
	ID      string        `json:"id"`
	Sample  int           `json:"sample"`
	Verdict event.Verdict `json:"verdict"`
	Reason  event.Reason  `json:"reason,omitempty"`
	Message string        `json:"message,omitempty"`
	Step    string        `json:"step,omitempty"` // that decided; empty: no step did
	File    string        `json:"file,omitempty"`
	Line    int           `json:"line,omitempty"`
	Dir     string        `json:"dir,omitempty"` // of artifacts, relative to the run's folder
}

// Cause is what several samples have in common that failed, and the first of them as an example.
type Cause struct {
	Count    int             `json:"count"`
	First    Failure         `json:"first"`
	Findings []event.Finding `json:"findings,omitempty"`
	Stdout   event.Stream    `json:"stdout,omitzero"`
	Stderr   event.Stream    `json:"stderr,omitzero"`
	Others   []string        `json:"others,omitempty"` // ids of more of them, up to ten

	dir string // the run's folder as seen from the working directory
}
