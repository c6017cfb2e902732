package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

func newDoctor(std stdio) *cobra.Command {
	var provider providerFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show what this machine can do, and take a sandbox through its life",
		Long: `doctor shows what this machine gives sandboxes (namespaces, control groups, kernel features, programs), with a remedy
for what is missing, then takes one sandbox through its whole life, create, execute, write, read, list, exists and
delete, each with its time. Exit status: 0, or 3 if sandboxes cannot be made here.`,
		Example: "  sbxrun doctor",
		Args:    maxArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := provider.settle(); err != nil {
				return err
			}
			ctx, signals := watchSignals(cmd.Context(), func(line string) { fmt.Fprintln(std.err, line) }, "doctor")
			defer signals.stop()
			provider.describe(ctx, std.out)
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
		},
	}
	provider.add(cmd)
	return cmd
}
