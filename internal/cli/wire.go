package cli

import (
	"context"
	"io"
	"runtime"

	"github.com/spf13/cobra"

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
	cmd.Flags().BoolVar(&f.allowNoIsolation, "allow-no-isolation", false,
		"let recipes ask for isolation: none, which runs their code on this machine with all your rights")
}

func (f *providerFlags) check() error { return oneOf("--provider", f.provider, localName) }

// jobs is how many samples are in flight where neither the recipe nor -j says.
func (f *providerFlags) jobs() int { return runtime.NumCPU() }

func (f *providerFlags) open(ctx context.Context, run sandbox.Run) (sandbox.Provider, error) {
	return local.Open(ctx, local.Options{Run: run, AllowNoIsolation: f.allowNoIsolation})
}

// describe prints what the provider's machine can do.
func (f *providerFlags) describe(ctx context.Context, w io.Writer) {
}

// collectGarbage removes what killed runs left and names what it removed.
func collectGarbage(ctx context.Context) ([]string, error) { return nil, nil }
