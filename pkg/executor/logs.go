package executor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// freshDir is a folder in the run's folder that is made when something is to be put there; what an earlier run left in
// its place is removed first.
type freshDir struct {
	run  string        // the run's folder
	name func() string // relative to it; not asked before it is needed

	path string // once it is made: what name says
	once sync.Once
	err  error
	made atomic.Bool
}

// logPath names the folder of a sample's logs: logs/RECIPE/CASE/SAMPLE, with .N for the Nth try of the sample.
func logPath(recipe, caseID string, sample, attempt int) string {
	name := strconv.Itoa(sample)
	if attempt > 1 {
		name += "." + strconv.Itoa(attempt)
	}
	return path.Join("logs", event.FileName(recipe), event.FileName(caseID), name)
}

func (d *freshDir) make() error {
	d.once.Do(func() {
		defer func() { d.made.Store(d.err == nil) }()
		d.path = d.name()
		dir := filepath.Join(d.run, filepath.FromSlash(d.path))
		if d.err = os.MkdirAll(filepath.Dir(dir), 0o777); d.err != nil {
			return
		}
		if d.err = os.Mkdir(dir, 0o777); errors.Is(d.err, fs.ErrExist) {
			if d.err = os.RemoveAll(dir); d.err == nil {
				d.err = os.Mkdir(dir, 0o777)
			}
		}
	})
	return d.err
}

// logFile is where one stream goes: NAME[.TRY].STREAM. Where another step has that name, NAME is followed by its place
// in the recipe, as in build~3; a tilde is in no other name, since FileName escapes it.
type logFile struct {
	dir    *freshDir
	name   string // of the step
	place  int    // of the step in the recipe, from 1
	try    int
	stream string // stdout or stderr
}

func (f *logFile) create() (*os.File, string, error) {
	if err := f.dir.make(); err != nil {
		return nil, "", fmt.Errorf("make a folder for logs: %w", err)
	}
	suffix := "." + f.stream
	if f.try > 1 {
		suffix = "." + strconv.Itoa(f.try) + suffix
	}
	name := event.FileName(f.name)
	for _, name := range []string{name + suffix, name + "~" + strconv.Itoa(f.place) + suffix} {
		rel := path.Join(f.dir.path, name)
		file, err := os.OpenFile(filepath.Join(f.dir.run, filepath.FromSlash(rel)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, "", fmt.Errorf("make log: %w", err)
		}
		return file, rel, nil
	}
	return nil, "", fmt.Errorf("make log of step %q: its file exists already", f.name)
}
