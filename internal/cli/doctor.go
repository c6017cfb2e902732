package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

func newDoctor(std stdio) *cobra.Command {
	var provider providerFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show what this machine or a cluster can do, and take a sandbox through its life",
		Long: `doctor shows what this machine gives sandboxes (namespaces, control groups, kernel features, programs), or with
--provider kubernetes what a cluster does (its version, Agent Sandbox, what you may do there, the way to sandboxes), with
a remedy for what is missing. Then it takes one sandbox through its whole life, create, execute, write, read, list,
exists and delete, each with its time. Exit status: 0; 3 if sandboxes cannot be made, 2 if nothing says of what.`,
		Example: `  sbxrun doctor
  sbxrun doctor --provider kubernetes --template python-sandbox-template
  sbxrun doctor --provider kubernetes --connection direct --api-url https://sandboxes.example.org --warmpool python`,
		Args: maxArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := provider.settle(); err != nil {
				return err
			}
			ctx, signals := watchSignals(cmd.Context(), func(line string) { fmt.Fprintln(std.err, line) },
				takingDown("doctor", provider.gcCommand())...)
			defer signals.stop()
			return interrupted(ctx, std, examine(ctx, std, &provider))
		},
	}
	provider.add(cmd)
	return cmd
}

// examine shows what there is, and takes a sandbox through its life.
func examine(ctx context.Context, std stdio, provider *providerFlags) error {
	provider.describe(ctx, std.out)
	if provider.provider == kubernetesName && provider.origin() == "" {
		return usagef("nothing says where a sandbox comes from: add --warmpool, --template or --image")
	}
	dir, err := os.MkdirTemp("", "sbxrun-doctor-")
	if err != nil {
		return fmt.Errorf("make a folder for the trial run: %w", err)
	}
	defer os.RemoveAll(dir)
	p, err := provider.open(ctx, sandbox.Run{ID: "doctor-" + newRunID()[14:], Dir: dir, Size: 1}, 0)
	if err != nil {
		return err
	}
	fmt.Fprintln(std.out, "the life of a sandbox:")
	err = lifecycle(ctx, std.out, p)
	if down := takeDown(ctx, p); err == nil {
		err = down
	}
	return err
}
