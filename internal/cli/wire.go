package cli

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/plan"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local"
)

// Names of --provider.
const localName = "local"

// providerFlags say where sandboxes come from.
type providerFlags struct {
	provider         string
	allowNoIsolation bool
}

func (f *providerFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.provider, "provider", localName, "where sandboxes come from: `NAME` is local")
}

// addRun adds the flags that only a run has.
func (f *providerFlags) addRun(cmd *cobra.Command) {
	f.add(cmd)
	cmd.Flags().BoolVar(&f.allowNoIsolation, "allow-no-isolation", false,
		"let recipes ask for isolation: none, which runs their code on this machine with all your rights")
}

func (f *providerFlags) check() error { return oneOf("--provider", f.provider, localName) }

// jobs is how many samples are in flight where neither the recipe nor -j says.
func (f *providerFlags) jobs() int { return runtime.NumCPU() }

func (f *providerFlags) open(ctx context.Context, run sandbox.Run) (sandbox.Provider, error) {
	return local.Open(ctx, local.Options{Run: run, AllowNoIsolation: f.allowNoIsolation})
}

// fit compares what the plans ask for with what is allowed, and may take with this machine. The warnings are for people;
// the error means that a sample would not get what it is promised.
func (f *providerFlags) fit(plans []*plan.Plan) (warnings []string, err error) {
	var machine unix.Sysinfo_t
	if err := unix.Sysinfo(&machine); err != nil {
		return nil, fmt.Errorf("read the size of the memory: %w", err)
	}
	total := int64(machine.Totalram) * int64(machine.Unit)
	for _, p := range plans {
		var sample []sandbox.Limits
		for _, sb := range p.Recipe.Sandboxes {
			if sb.Isolation == string(sandbox.IsolationNone) && !f.allowNoIsolation {
				return nil, &sandbox.Error{Op: "plan " + p.Recipe.Name, Kind: sandbox.KindUnsupported, Err: fmt.Errorf(
					"sandbox %s has isolation none, which isolates nothing: --allow-no-isolation runs its commands with all your rights", sb.Name)}
			}
			// Limits that depend on the case cannot be known ahead; the kernel holds them to what there is.
			if spec, err := p.SandboxSpec(sb, p.Env(plan.Case{}, 1, "")); err == nil {
				sample = append(sample, spec.Limits)
			}
		}
		warning, err := plan.Fit(p.Pool.Size, sample, total)
		if err != nil {
			return nil, &sandbox.Error{Op: "plan " + p.Recipe.Name, Kind: sandbox.KindUnsupported, Err: err}
		}
		if warning != "" {
			warnings = append(warnings, p.Recipe.Name+": "+warning)
		}
	}
	return warnings, nil
}

// describe prints what the provider's machine can do.
func (f *providerFlags) describe(ctx context.Context, w io.Writer) {
	fmt.Fprintln(w, "this machine:")
	for _, finding := range local.Examine(ctx) {
		fmt.Fprintf(w, "  %-16s %-8s %s\n", finding.Name, finding.State, finding.Detail)
		if finding.Remedy != "" {
			fmt.Fprintf(w, "  %25s %s\n", "", finding.Remedy)
		}
	}
}

// collectGarbage removes what killed runs left and names what it removed.
func collectGarbage(ctx context.Context) ([]string, error) { return local.GC(ctx) }
