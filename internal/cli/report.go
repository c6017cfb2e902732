package cli

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sbxrun/sbxrun/internal/report"
)

func newReport(std stdio) *cobra.Command {
	var out, junit string
	cmd := &cobra.Command{
		Use:   "report DIR|FILE...",
		Short: "Make reports again from recorded events; merge shards",
		Long: `report reads the events of finished runs, folders or events.jsonl files, makes the reports again and exits as one run of
all of them would. Gates, which wait for this with --shard, are judged over all. The reports of one folder go into it;
those of several need --out, a folder that holds no run. The same recipe, case and sample twice is an error.`,
		Example: "  sbxrun report .sbxrun/runs/261123-101500-3fa2c1\n  sbxrun report --out merged shard1 shard2 shard3",
		Args:    someArgs("at least one folder or file"),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 && out == "" {
				return usagef("say with --out where the merged reports go")
			}
			if out != "" && !inputAlone(args, out) {
				if _, err := os.Stat(filepath.Join(out, eventsFile)); err == nil {
					return usagef("--out %s holds a run of its own, whose reports are not to be replaced: name another folder", out)
				}
			}
			dir := cmp.Or(out, folderOf(args[0]))
			for _, arg := range append([]string{dir}, args...) {
				if err := notOfRun(folderOf(arg), junit); err != nil {
					return err
				}
			}
			release, err := idle(dir)
			if err != nil {
				return err
			}
			defer release()
			log, err := report.Open(args...)
			if err != nil {
				return usagef("cannot read a run: %v", err)
			}
			return merge(std, log, dir, junit)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write the reports to the folder `DIR` (default: the run's own)")
	cmd.Flags().StringVar(&junit, "junit", "", "write the JUnit report to `FILE` too")
	return cmd
}

// inputAlone says whether out is the folder of the one run that is read.
func inputAlone(args []string, out string) bool {
	if len(args) != 1 {
		return false
	}
	in, err1 := os.Stat(folderOf(args[0]))
	to, err2 := os.Stat(out)
	return err1 == nil && err2 == nil && os.SameFile(in, to)
}

// folderOf is the folder of a run that is named by it, or by its log.
func folderOf(run string) string {
	if info, err := os.Stat(run); err == nil && !info.IsDir() {
		return filepath.Dir(run)
	}
	return run
}

// merge writes the reports of a log and ends as the run would have.
func merge(std stdio, log *report.Log, dir, junit string) error {
	sum := log.Summary()
	for _, r := range sum.Recipes {
		r.Gates = judge(r.Start.Gates, r)
	}
	code := status(mergedOutcome(log))
	log.SetExit(code)
	options := report.DetectConsole(std.out, os.Getenv)
	options.Live = false
	console := report.NewConsole(options) // before the reports, of which one may go to its output
	files, err := report.Write(log, report.Options{
		Dir: dir, JUnit: junit, Results: true, StepSummary: os.Getenv("GITHUB_STEP_SUMMARY"),
	})
	return ended(std, code, errors.Join(err, console.Show(log, files...)))
}

// idle sees to it that no run goes on in a folder, which would have its results replaced, and that none begins. A folder that is
// not there yet has none.
func idle(dir string) (release func(), err error) {
	lock, err := lockFolder(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return func() {}, nil
	case errors.Is(err, errGoingOn):
		return nil, usagef("%v in %s; wait for its end, or write the reports to another folder with --out", err, dir)
	case err != nil:
		return nil, usagef("cannot use the folder for reports: %v; name another with --out", err)
	}
	return func() { lock.Close() }, nil
}

// mergedOutcome is the outcome of runs whose events are all there is. A run that was killed, or a shard that is not
// there, leaves samples that did not run. Of the runs' own exit statuses those count that no merging can better.
func mergedOutcome(log *report.Log) outcome {
	sum := log.Summary()
	o := outcome{summary: sum, incomplete: len(sum.Ends) < len(sum.Runs) || len(log.MissingShards()) > 0}
	for _, end := range sum.Ends {
		o.interrupted = o.interrupted || end.Exit == exitInterrupted
		o.infra = o.infra || end.Exit == exitInfra
		o.refused = o.refused || end.Refused
	}
	return o
}
