package cli

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Names in a run's folder. Whatever has another name is not a run's.
const (
	eventsFile  = "events.jsonl"
	resultsFile = "results.jsonl"
	reportFile  = "report.json"
	junitFile   = "junit.xml"
	logsDir     = "logs"
	artifacts   = "artifacts"
)

// runNames ends with the log, which marks a folder as a run's: it is the last to go.
var runNames = []string{resultsFile, reportFile, junitFile, logsDir, artifacts, eventsFile}

// leftName is what else is in the folder of a run that was killed: reports that were not complete, files on the way out of
// a sandbox, sandboxes of isolation none.
var leftName = regexp.MustCompile(`^(\.(results\.jsonl|report\.json|junit\.xml|fetched-)[0-9]+|bare-[0-9a-z]{12})$`)

// home is where runs go that are given no folder, in the working directory.
const home = ".sbxrun"

// newRunID names a run: sorted by time, unique on the machine, fit for a DNS label.
func newRunID() string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails
	return time.Now().UTC().Format("060102-150405-") + hex.EncodeToString(b[:])
}

// runDir is the folder of a run, locked against other runs.
type runDir struct {
	path  string // absolute
	shown string // as people call it
	lock  *os.File
}

// openRunDir makes the folder of a run. An empty out is .sbxrun/runs/ID. A folder that holds a finished or dead run is
// emptied; one that holds anything else, or a run that is going on, is refused.
func openRunDir(out, id string) (*runDir, error) {
	if out == "" {
		if err := makeHome(); err != nil {
			return nil, err
		}
		out = filepath.Join(home, "runs", id)
	}
	path, err := filepath.Abs(out)
	if err != nil {
		return nil, usagef("--out %s: %v", out, err)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, usagef("cannot make the run's folder: %v; name another with --out", err)
	}
	lock, err := lockFolder(path)
	if errors.Is(err, errGoingOn) {
		return nil, usagef("%v in %s; name another folder with --out", err, out)
	}
	if err != nil {
		return nil, usagef("cannot use the run's folder: %v; name another with --out", err)
	}
	d := &runDir{path: path, shown: out, lock: lock}
	if err := d.empty(out); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// errGoingOn is a folder that a run has locked.
var errGoingOn = errors.New("a run is going on")

// lockFolder keeps runs out of a folder until it is closed.
func lockFolder(path string) (*os.File, error) {
	lock, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errGoingOn
		}
		return nil, os.NewSyscallError("flock", err)
	}
	return lock, nil
}

// empty removes what a former run left, and refuses if there is anything else.
func (d *runDir) empty(shown string) error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return usagef("cannot read --out %s: %v", shown, err)
	}
	if len(entries) == 0 {
		return nil
	}
	var left, others []string
	run := false
	for _, e := range entries {
		run = run || e.Name() == eventsFile
		if leftName.MatchString(e.Name()) {
			left = append(left, e.Name())
		} else if !slices.Contains(runNames, e.Name()) {
			others = append(others, e.Name())
		}
	}
	if !run || len(others) > 0 {
		if len(others) == 0 {
			others = []string{entries[0].Name()}
		}
		return usagef("--out %s holds something else than a run (%s); name a new or empty folder", shown, strings.Join(others, ", "))
	}
	for _, name := range append(left, runNames...) {
		if err := os.RemoveAll(filepath.Join(d.path, name)); err != nil {
			return usagef("cannot replace the run in %s: %v", shown, err)
		}
	}
	return nil
}

// notOfRun refuses a file to write that is one of those that a run keeps in dir, but for its JUnit report.
func notOfRun(dir, file string) error {
	if dir == "" || file == "" {
		return nil
	}
	within, err1 := filepath.Abs(dir)
	abs, err2 := filepath.Abs(file)
	rel, err3 := filepath.Rel(within, abs)
	first, _, _ := strings.Cut(rel, "/")
	if errors.Join(err1, err2, err3) == nil && first != junitFile && slices.Contains(runNames, first) {
		return usagef("--junit %s: that is a file of the run itself; name another", file)
	}
	return nil
}

func (d *runDir) file(name string) string { return filepath.Join(d.path, name) }

func (d *runDir) close() { d.lock.Close() }

// makeHome makes .sbxrun, with a .gitignore that keeps it out of repositories.
func makeHome() error {
	if err := os.MkdirAll(filepath.Join(home, "runs"), 0o755); err != nil {
		return usagef("cannot make the folder for runs: %v; name one with --out", err)
	}
	ignore := filepath.Join(home, ".gitignore")
	if _, err := os.Lstat(ignore); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(ignore, []byte("*\n"), 0o644); err != nil {
			return usagef("cannot write %s: %v; name a folder with --out", ignore, err)
		}
	}
	return nil
}

// relativeTo is path as seen from base where it lies below it, else absolute.
func relativeTo(base, path string) string {
	rel, err := filepath.Rel(base, path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return path
	}
	return rel
}

// repositoryFile names a recipe as reports do: relative to the repository that it is in, else to the working directory.
func repositoryFile(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	for dir := filepath.Dir(abs); ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return relativeTo(dir, abs)
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	cwd, err := os.Getwd()
	if err != nil {
		return abs
	}
	return relativeTo(cwd, abs)
}
