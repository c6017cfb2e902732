package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sbxrun/sbxrun/pkg/recipe"
)

func newValidate(std stdio) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "validate RECIPE|DIR|GLOB...",
		Short: "Check recipes; run nothing",
		Long: `validate reads recipes and prints every mistake as file:line:column: what is wrong. Data files, secrets and the
environment are not looked at; "sbxrun plan" does that too. Exit status: 0 if all are valid, else 2.`,
		Example: "  sbxrun validate recipe.yaml\n  sbxrun validate -o json recipes/",
		Args:    someArgs("at least one recipe"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := oneOf("-o", output, "text", "json"); err != nil {
				return err
			}
			recipes, bad := load(args)
			err := mistakes(append(bad, sameNames(recipes)...))
			if output == "json" {
				return errors.Join(printDiagnostics(std, err), err)
			}
			if err != nil {
				return err
			}
			for _, r := range recipes {
				fmt.Fprintf(std.out, "%s: valid\n", r.Path)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "`FORMAT` of what is printed: text or json")
	return cmd
}

// printDiagnostics prints the mistakes as a JSON list of {file, line, column, message}; an empty one for none.
func printDiagnostics(std stdio, err error) error {
	type row struct {
		File    string `json:"file,omitempty"`
		Line    int    `json:"line,omitempty"`
		Column  int    `json:"column,omitempty"`
		Message string `json:"message"`
	}
	rows := []row{}
	if bad, ok := errors.AsType[*badRecipes](err); ok {
		for _, e := range bad.errs {
			ds, ok := errors.AsType[recipe.Diagnostics](e)
			if !ok {
				rows = append(rows, row{Message: e.Error()})
			}
			for _, d := range ds {
				rows = append(rows, row{d.File, d.Line, d.Column, d.Message})
			}
		}
	}
	enc := json.NewEncoder(std.out)
	enc.SetIndent("", "  ")
	return enc.Encode(rows)
}

func oneOf(flag, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return usagef("%s is %s, not %q", flag, strings.Join(allowed, " or "), value)
}
