package cli

import (
	"errors"
	"fmt"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/executor"
	"github.com/sbxrun/sbxrun/pkg/plan"
	"github.com/sbxrun/sbxrun/pkg/recipe"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// summary is that of one recipe, with a gate that holds or not.
func summary(gate string, stopped string, c event.Counts) *event.Summary {
	r := &event.RecipeSummary{Name: "r", Counts: c, Stopped: stopped}
	if gate != "" {
		r.Start.Gates = []event.Gate{{Source: gate}}
		r.Gates = []event.GateResult{{Gate: r.Start.Gates[0], Held: gate == "holds"}}
	}
	return &event.Summary{Recipes: []*event.RecipeSummary{r}}
}

func TestStatus(t *testing.T) {
	const holds, fails = "holds", "does not hold"
	tests := []struct {
		name string
		with outcome
		want int
	}{
		{"passed", outcome{summary: summary("", "", event.Counts{Passed: 2})}, exitOK},
		{"skipped", outcome{summary: summary("", "", event.Counts{Skipped: 2})}, exitOK},
		{"failed", outcome{summary: summary("", "", event.Counts{Passed: 2, Failed: 1})}, exitFailed},
		{"not run", outcome{summary: summary("", "", event.Counts{NotRun: 1})}, exitFailed},
		{"errors before failures", outcome{summary: summary("", "", event.Counts{Failed: 1, Errors: 1})}, exitInfra},
		{"failures and errors reach it only through gates", outcome{summary: summary(holds, "", event.Counts{Failed: 1, Errors: 1})}, exitOK},
		{"a gate does not hold", outcome{summary: summary(fails, "", event.Counts{Passed: 1})}, exitFailed},
		{"a gate does not hold, with errors", outcome{summary: summary(fails, "", event.Counts{Errors: 1})}, exitFailed},
		{"gates wait with --shard", outcome{shard: true, summary: summary(fails, "", event.Counts{Failed: 1})}, exitOK},
		{"--shard without gates", outcome{shard: true, summary: summary("", "", event.Counts{Failed: 1})}, exitFailed},
		{"max failures beside gates", outcome{summary: summary(holds, executor.StoppedMaxFailures, event.Counts{Failed: 1})}, exitFailed},
		{"the run's timeout beside gates", outcome{summary: summary(holds, executor.StoppedTimeout, event.Counts{Passed: 1, NotRun: 9})}, exitFailed},
		{"refused update", outcome{refused: true, summary: summary(holds, "", event.Counts{Passed: 1})}, exitFailed},
		{"incomplete", outcome{incomplete: true, summary: summary("", "", event.Counts{Passed: 1})}, exitFailed},
		{"infrastructure beside gates", outcome{infra: true, refused: true, summary: summary(fails, "", event.Counts{Passed: 1})}, exitInfra},
		{"left behind", outcome{summary: &event.Summary{Left: 1}}, exitInfra},
		{"interrupted before all", outcome{interrupted: true, infra: true, refused: true, summary: summary(fails, "", event.Counts{Errors: 1})}, exitInterrupted},
		{"nothing", outcome{summary: &event.Summary{}}, exitOK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := status(tt.with); got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
		})
	}
}

func TestStatusOfErrors(t *testing.T) {
	tests := []struct {
		err  error
		want int
	}{
		{usagef("-j 0"), exitUsage},
		{fmt.Errorf("with more around it: %w", &plan.Error{Message: "no cases"}), exitUsage},
		{recipe.Diagnostics{{File: "r.yaml", Message: "empty"}}, exitUsage},
		{&sandbox.Error{Op: "open", Kind: sandbox.KindUnsupported}, exitInfra},
		{errors.New("the disk is full"), exitInfra},
	}
	for _, tt := range tests {
		if got := statusOf(tt.err); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.err, got, tt.want)
		}
	}
}
