package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// starter is what init writes: a recipe that passes as it stands and shows where to go on.
const starter = `# yaml-language-server: $schema=recipe.schema.json
# Run it:   sbxrun %[1]s
# The keys: sbxrun schema > recipe.schema.json   (editors then complete and check them)
version: 1
name: first
files:
  - content: |
      one two
      three
    dst: in.txt
steps:
  - name: count words
    run: wc -w < in.txt
    timeout: 10s
    expect:
      stdout: "3"
`

func newInit(std stdio) *cobra.Command {
	return &cobra.Command{
		Use:     "init [FILE]",
		Short:   "Write a first recipe",
		Long:    "init writes a small recipe that runs as it stands, into FILE (default: recipe.yaml). It never overwrites a file.",
		Example: "  sbxrun init\n  sbxrun init tests/smoke.yaml",
		Args:    maxArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			name := "recipe.yaml"
			if len(args) == 1 {
				name = args[0]
			}
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				return usagef("cannot make the recipe's folder: %v", err)
			}
			f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if errors.Is(err, fs.ErrExist) {
				return usagef("%s exists and is left as it is; name another file: sbxrun init FILE", name)
			}
			if err != nil {
				return usagef("cannot write the recipe: %v", err)
			}
			_, err = fmt.Fprintf(f, starter, name)
			if err := errors.Join(err, f.Close()); err != nil {
				return fmt.Errorf("write the recipe: %w", err)
			}
			_, err = fmt.Fprintf(std.out, "wrote %s; run it with: sbxrun %s\n", name, name)
			return err
		},
	}
}

func maxArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) > n && n == 0:
			return usagef("%q: there are no arguments; see \"%s --help\"", args[0], cmd.CommandPath())
		case len(args) > n:
			return usagef("at most %d arguments, not %d; see \"%s --help\"", n, len(args), cmd.CommandPath())
		}
		return nil
	}
}

func someArgs(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("name %s; see \"%s --help\"", what, cmd.CommandPath())
		}
		return nil
	}
}
