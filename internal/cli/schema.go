package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sbxrun/sbxrun/schemas"
)

func newSchema(std stdio) *cobra.Command {
	return &cobra.Command{
		Use:   "schema [recipe|events]",
		Short: "Print a JSON Schema",
		Long: `schema prints the JSON Schema (draft 2020-12) of recipes, or that of the events of a run. Editors complete and check
recipes with it, and show what each key means.`,
		Example:   "  sbxrun schema > recipe.schema.json\n  sbxrun schema events",
		Args:      maxArgs(1),
		ValidArgs: []string{"recipe", "events"},
		RunE: func(_ *cobra.Command, args []string) error {
			text := schemas.Recipe
			if len(args) == 1 {
				if err := oneOf("the schema", args[0], "recipe", "events"); err != nil {
					return err
				}
				if args[0] == "events" {
					text = schemas.Events
				}
			}
			_, err := fmt.Fprint(std.out, text)
			return err
		},
	}
}
