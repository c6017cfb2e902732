// Package golden runs the scripts of this folder: each is a recipe or two, command lines, and what must come of them,
// against the real binary in real sandboxes. Run one with -run TestScripts/NAME; -update rewrites the expected files
// ("cmp stdout FILE") of scripts that differ. SBXRUN_BINARY names a built sbxrun to test instead of these sources.
package golden

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the expected files of the scripts")

// binary is the folder of the built sbxrun.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if built := os.Getenv("SBXRUN_BINARY"); built != "" {
		binary = filepath.Dir(built)
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "sbxrun-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "sbxrun"), "github.com/sbxrun/sbxrun/cmd/sbxrun")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build sbxrun: %v\n%s", err, out)
		return 1
	}
	binary = dir
	return m.Run()
}

func TestScripts(t *testing.T) { scripts(t, ".") }

// scripts runs the *.txtar of a folder.
func scripts(t *testing.T, dir string) {
	examples, err := filepath.Abs("../../recipes/examples")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		UpdateScripts:       *update,
		RequireExplicitExec: false,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", binary+string(filepath.ListSeparator)+os.Getenv("PATH"))
			e.Setenv("EXAMPLES", examples)
			e.Setenv("UID", strconv.Itoa(os.Getuid()))
			e.Setenv("TERM", "dumb")
			e.Values[processKey{}] = &process{}
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name != "root" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return os.Getuid() == 0, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"sbxrun":   sbxrun,
			"exits":    exits,
			"start":    start,
			"crash":    crash,
			"signal":   signal,
			"ends":     ends,
			"appears":  appears,
			"census":   census,
			"gone":     gone,
			"peak":     peak,
			"results":  results,
			"findings": findings,
			"reports":  reports,
		},
	})
}

// sbxrun ARG...: runs the binary, which must succeed, or with "!" must not.
func sbxrun(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("sbxrun", args...)
	if neg && err == nil {
		ts.Fatalf("sbxrun %q succeeded", args)
	}
	if !neg {
		ts.Check(err)
	}
}

// exits STATUS [ARG...]: runs the binary, which must exit with STATUS.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits STATUS [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("sbxrun", args[1:]...)
	if got := statusOf(ts, err); got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

func statusOf(ts *testscript.TestScript, err error) int {
	if err == nil {
		return 0
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		ts.Fatalf("%v", err)
	}
	return exit.ExitCode()
}
