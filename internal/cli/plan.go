package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newPlan(std stdio) *cobra.Command {
	var (
		flags    planFlags
		provider providerFlags
		output   string
	)
	cmd := &cobra.Command{
		Use:   "plan RECIPE|DIR|GLOB...",
		Short: "Show what would run; run nothing",
		Long: `plan reads recipes and their data files and shows which cases, steps and sandboxes a run would have, with the
same --set, --case and --shard, and where sandboxes come from that name nothing themselves. Values of secrets are never
shown.`,
		Example: "  sbxrun plan recipe.yaml\n  sbxrun plan -o json --case 'py=3.12' recipe.yaml | jq '.cases[].id'",
		Args:    someArgs("at least one recipe"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("-o", output, "text", "json"); err != nil {
				return err
			}
			if err := provider.settle(); err != nil {
				return err
			}
			plans, err := flags.build(cmd.Context(), args, &provider)
			if err != nil {
				return err
			}
			for i, p := range plans {
				write := p.Text
				if output == "json" {
					write = p.JSON
				} else if i > 0 {
					fmt.Fprintln(std.out)
				}
				if err := write(cmd.Context(), std.out); err != nil {
					return err
				}
			}
			return nil
		},
	}
	flags.add(cmd)
	provider.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "`FORMAT` of what is printed: text, or json (one document a recipe)")
	return cmd
}
