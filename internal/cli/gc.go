package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newGC(std stdio) *cobra.Command {
	var provider providerFlags
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove what killed runs left",
		Long: `gc removes what killed runs left on this machine: control groups with what still runs in them, and locks. What a living
run owns is not touched. A run that ends by itself, by Ctrl-C or by SIGKILL leaves nothing; gc is for those of which
the process that takes the sandboxes down was killed too.

With --provider kubernetes it removes claims, templates, pools and policies in the namespace whose run has let its lease
lapse, which is about a minute after it was killed. The cluster would remove the sandboxes by itself when their time is over; gc does so now.`,
		Example: "  sbxrun gc\n  sbxrun gc --provider kubernetes --namespace evals",
		Args:    maxArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := provider.settle(); err != nil {
				return err
			}
			ctx, signals := watchSignals(cmd.Context(), func(line string) { fmt.Fprintln(std.err, line) },
				"interrupted; what is not removed yet stays for the next gc (once more: leave at once)", "left at once")
			defer signals.stop()
			removed, living, err := provider.collectGarbage(ctx)
			for _, what := range removed {
				fmt.Fprintln(std.out, "removed", what)
			}
			for _, what := range living {
				fmt.Fprintln(std.out, "left", what)
			}
			if err == nil && len(removed)+len(living) == 0 {
				fmt.Fprintln(std.out, "nothing was left")
			}
			return interrupted(ctx, std, err)
		},
	}
	provider.add(cmd)
	return cmd
}
