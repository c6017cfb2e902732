// Package cli is the command line: one file a verb, wire.go the only one that names every provider and report, exit.go
// the only one that turns an outcome into an exit status. What a recipe means, how it is run and how results are shown
// belongs in the packages that it joins.
package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sbxrun/sbxrun/internal/nearest"
)

// stdio is where a command reads and writes; files, so that what is a terminal can be known.
type stdio struct{ in, out, err *os.File }

// Main runs one command line, without the program's name, and returns the exit status.
func Main(args []string, in, out, err *os.File) int {
	std := stdio{in, out, err}
	root := newRoot(std)
	root.SetArgs(route(root, args))
	cmd, failure := root.ExecuteContextC(context.Background())
	return explain(std, cmd, failure)
}

func newRoot(std stdio) *cobra.Command {
	root := &cobra.Command{
		Use:   "sbxrun [RECIPE...]",
		Short: "Run YAML recipes in sandboxes",
		Long: `sbxrun runs YAML recipes in sandboxes: it takes isolated sandboxes, stages files, runs commands, checks what
came out, writes reports, and always takes the sandboxes down again. The code it runs is not trusted.

"sbxrun RECIPE..." is the same as "sbxrun run RECIPE...": its flags, which "sbxrun run --help" lists, may stand before
or after the recipes.`,
		Example: `  sbxrun init                      # write a first recipe
  sbxrun recipe.yaml               # run it
  sbxrun -j 4 --junit out.xml recipes/
  sbxrun validate recipe.yaml      # check it, run nothing
  sbxrun plan -o json recipe.yaml  # what would run`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
		Args:              cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("say which recipe to run, or a command: %s; see \"sbxrun --help\"", strings.Join(verbs(cmd.Root()), ", "))
			}
			return unknownCommand(cmd.Root(), args[0])
		},
	}
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		newRun(std), newValidate(std), newPlan(std), newReport(std), newDoctor(std), newGC(std),
		newInit(std), newSchema(std), newVersion(std),
	)
	root.InitDefaultHelpCmd()
	verb(root, "help").Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 && verb(root, args[0]) == nil {
			return unknownCommand(root, args[0])
		}
		return nil
	}
	root.InitDefaultCompletionCmd()
	completion := verb(root, "completion")
	completion.Args = someArgs("a shell")
	completion.RunE = func(_ *cobra.Command, args []string) error {
		return oneOf("the shell", args[0], verbs(completion)...)
	}
	return root
}

// route puts "run" before the arguments of a command line that names recipes and no command, and moves a command that
// stands behind flags of run to the front, so that flags may stand before or after what they belong to.
func route(root *cobra.Command, args []string) []string {
	run := verb(root, "run")
	at, word := firstWord(run.Flags(), args)
	if at < 0 {
		return args
	}
	if verb(root, word) != nil || strings.HasPrefix(word, "__complete") {
		moved := append([]string{word}, args[:at]...)
		return append(moved, args[at+1:]...)
	}
	_, misspelt := nearest.Nearest(word, verbs(root))
	if isRecipe(word) || !misspelt && slices.ContainsFunc(args[at:], isRecipe) {
		return append([]string{"run"}, args...)
	}
	return args
}

// isRecipe says whether an argument names a recipe, there or not. Not only the first is asked: it may be the value of a
// flag that is misspelt.
func isRecipe(arg string) bool {
	_, err := os.Stat(arg)
	return err == nil || isRecipeName(arg)
}

// firstWord finds the first argument that is neither a flag nor a flag's value.
func firstWord(flags *pflag.FlagSet, args []string) (int, string) {
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a == "--" {
			if i+1 < len(args) {
				return i + 1, args[i+1]
			}
			return -1, ""
		}
		if len(a) < 2 || a[0] != '-' {
			return i, a
		}
		if strings.Contains(a, "=") {
			continue
		}
		var f *pflag.Flag
		if name, long := strings.CutPrefix(a, "--"); long {
			f = flags.Lookup(name)
		} else if len(a) == 2 {
			f = flags.ShorthandLookup(a[1:])
		}
		if f != nil && f.NoOptDefVal == "" {
			i++
		}
	}
	return -1, ""
}

func isRecipeName(word string) bool {
	return strings.HasSuffix(word, ".yaml") || strings.HasSuffix(word, ".yml")
}

func verb(root *cobra.Command, name string) *cobra.Command {
	for _, c := range root.Commands() {
		if c.Name() == name || c.HasAlias(name) {
			return c
		}
	}
	return nil
}

func verbs(root *cobra.Command) []string {
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}

func unknownCommand(root *cobra.Command, word string) error {
	if near, ok := nearest.Nearest(word, verbs(root)); ok {
		return usagef("%q is neither a recipe nor a command; did you mean %q?", word, near)
	}
	return usagef("%q is neither a file, a recipe (*.yaml) nor a command; the commands are %s",
		word, strings.Join(verbs(root), ", "))
}

func flagError(cmd *cobra.Command, err error) error {
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		if _, number := errors.AsType[*strconv.NumError](err); number {
			return usagef("--%s %s: not a whole number", bad.GetFlag().Name, bad.GetValue())
		}
		return usagef("--%s %s: %v", bad.GetFlag().Name, bad.GetValue(), bad.Unwrap())
	}
	if bad, ok := errors.AsType[*pflag.NotExistError](err); ok && !cmd.HasParent() {
		flags, name := verb(cmd, "run").Flags(), bad.GetSpecifiedName()
		f := flags.Lookup(name)
		if len(name) == 1 { // of a shorthand
			f = flags.ShorthandLookup(name)
		}
		if f != nil {
			return usagef("--%s is a flag of run: name at least one recipe, an existing path or *.yaml; see \"sbxrun run --help\"", f.Name)
		}
	}
	unknown, ok := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !ok {
		return usagef("%v; see \"%s --help\"", err, cmd.CommandPath())
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near, ok := nearest.Nearest(unknown, names); ok {
		return usagef("unknown flag --%s; did you mean --%s?", unknown, near)
	}
	return usagef("unknown flag --%s; see \"%s --help\"", unknown, cmd.CommandPath())
}

// usageError is a mistake in how sbxrun was called: nothing was started.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }
