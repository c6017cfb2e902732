package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/google/renameio/v2"
)

// Options say which reports Write makes.
type Options struct {
	// Dir is the folder of results.jsonl, report.json and junit.xml: the run's, or another for merged runs. It is made
	// where it is not there.
	Dir string
	// Cwd is what paths in junit.xml are relative to; empty: the working directory.
	Cwd string
	// JUnit is a path for another junit.xml; empty: none.
	JUnit string
	// Results says whether to write results.jsonl, which a run has written already.
	Results bool
	// StepSummary is the file that GitHub shows as the job's summary ($GITHUB_STEP_SUMMARY); empty: none.
	StepSummary string
}

// Write writes the reports of a log, each as a whole or not at all, and returns their paths. What can be written is
// written though another cannot be.
func Write(l *Log, o Options) ([]string, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	cwd, err := filepath.Abs(o.Cwd) // empty: the working directory
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	r := l.Report()
	junit := func(w io.Writer) error { return JUnit(w, l, cwd) }
	var files []string
	var errs []error
	write := func(path string, content func(io.Writer) error) {
		if err := writeFile(path, content); err != nil {
			errs = append(errs, fmt.Errorf("write %s: %w", path, err))
			return
		}
		files = append(files, path)
	}
	if o.Results {
		write(filepath.Join(o.Dir, "results.jsonl"), func(w io.Writer) error { return ResultLines(w, l, dir) })
	}
	write(filepath.Join(o.Dir, "report.json"), func(w io.Writer) error { return JSON(w, r) })
	write(filepath.Join(o.Dir, "junit.xml"), junit)
	if o.JUnit != "" {
		write(o.JUnit, junit)
	}
	if o.StepSummary != "" {
		if err := appendSummary(o.StepSummary, r); err != nil {
			errs = append(errs, fmt.Errorf("write the job summary: %w", err))
		}
	}
	return files, errors.Join(errs...)
}

// SetExit says with which status the command that makes reports of the log ends: what they show is that, and not what a
// run recorded.
func (l *Log) SetExit(status int) { l.exit = &status }

// Report is the log as a Report, with the gates that its Summary has.
func (l *Log) Report() *Report {
	r := l.built.report()
	if l.exit != nil {
		r.Exit = l.exit
	}
	for _, shard := range l.MissingShards() {
		r.Warnings = append(r.Warnings, "shard "+shard+" is missing: the totals are not those of the whole")
	}
	return r
}

// JSON writes report.json. What a terminal takes for orders is escaped in it.
func JSON(w io.Writer, r *Report) error {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		return err
	}
	_, err := w.Write(escapeControls(text.Bytes()))
	return err
}

// escapeControls returns a JSON text with DEL, the C1 controls and what changes the direction of text as \u escapes; all
// other controls are so already.
func escapeControls(text []byte) []byte {
	var out []byte
	done := 0 // up to where text is in out
	for i := 0; i < len(text); {
		if text[i] < 0x7f {
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		if r < 0xa0 || isBidi(r) {
			out = fmt.Appendf(append(out, text[done:i]...), `\u%04x`, r)
			done = i + n
		}
		i += n
	}
	if done == 0 {
		return text
	}
	return append(out, text[done:]...)
}

// writeFile replaces the file at path once its content is complete. What is there and no file, such as a pipe or a link,
// which /dev/stdout is too, is written to.
func writeFile(path string, content func(io.Writer) error) error {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return writeTo(path, content)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644), renameio.WithExistingPermissions())
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }() // nothing to do where the file was put in place
	buf := bufio.NewWriterSize(f, 64<<10)
	if err := content(buf); err != nil {
		return err
	}
	if err := buf.Flush(); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

// writeTo writes to what path leads to. What this process writes to already goes on where that is: opened again, a file
// would be written from its beginning, over what is in it.
func writeTo(path string, content func(io.Writer) error) error {
	info, _ := os.Stat(path)
	for _, f := range []*os.File{os.Stdout, os.Stderr} {
		if own, err := f.Stat(); err == nil && os.SameFile(info, own) {
			return content(f)
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(content(f), f.Close())
}
