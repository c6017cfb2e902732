package sandboxtest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest/fake"
)

// defective is the fake with one promise of the contract broken.
type defective struct {
	sandbox.Provider
	defect defect
}

type defectiveBox struct {
	sandbox.Sandbox
	defect defect
}

// defect breaks a promise; what is nil is left as it is.
type defect struct {
	check   string // that finds it
	command func(*sandbox.Command)
	result  func(*sandbox.Result)
	streams func(stdout, stderr io.Writer) (io.Writer, io.Writer)
	globs   func([]string) []string
	err     func(error) error
	reset   func() error // in place of the fake's
}

var defects = map[string]defect{
	"exit status of seven bits":    {check: "exec/exit status", result: func(r *sandbox.Result) { r.Exit &= 0x7f }},
	"no signals":                   {check: "exec/death by a signal is 128 and the signal", result: func(r *sandbox.Result) { r.Signal = 0 }},
	"no duration":                  {check: "exec/duration is measured", result: func(r *sandbox.Result) { r.Duration = 0 }},
	"arguments split at spaces":    {check: "argv/arguments arrive as they are", command: func(c *sandbox.Command) { c.Argv = strings.Fields(strings.Join(c.Argv, " ")) }},
	"script through a text filter": {check: "argv/script arrives as it is", command: func(c *sandbox.Command) { c.Script = bytes.ToValidUTF8(c.Script, []byte("?")) }},
	"environment forgotten":        {check: "env/own variables win over the base", command: func(c *sandbox.Command) { c.Env = nil }},
	"environment of the host": {check: "env/nothing of the host's", command: func(c *sandbox.Command) {
		c.Env = map[string]string{"SBXRUN_SANDBOXTEST_CANARY": os.Getenv("SBXRUN_SANDBOXTEST_CANARY")}
	}},
	"directory ignored":         {check: "env/working directory relative and absolute", command: func(c *sandbox.Command) { c.Dir = "" }},
	"stdin dropped":             {check: "streams/stdin of every byte", command: func(c *sandbox.Command) { c.Stdin = nil }},
	"one stream for both":       {check: "streams/stdout and stderr are kept apart", streams: func(o, _ io.Writer) (io.Writer, io.Writer) { return o, o }},
	"CRLF turned into LF":       {check: "streams/output of every byte", streams: func(o, e io.Writer) (io.Writer, io.Writer) { return dropper{o, '\r'}, dropper{e, '\r'} }},
	"NUL lost in bulk":          {check: "streams/both directions at once", streams: func(o, e io.Writer) (io.Writer, io.Writer) { return dropper{o, 0}, e }},
	"one byte over the limit":   {check: "kill/output beyond its limit", command: func(c *sandbox.Command) { c.OutputLimit++ }},
	"output cut, not killed":    {check: "kill/output beyond its limit by one, at the very end", result: func(r *sandbox.Result) { r.Limit = "" }},
	"timeout unnamed":           {check: "kill/timeout ends the command", result: func(r *sandbox.Result) { r.Limit = "" }},
	"stop unnamed":              {check: "stop/stop is TERM", result: func(r *sandbox.Result) { r.Stopped = false }},
	"grace not kept":            {check: "stop/stop lets the command end in its own way", command: func(c *sandbox.Command) { c.Grace = 0 }},
	"only the first glob":       {check: "receive/lexical order, each once", globs: func(g []string) []string { return g[:min(1, len(g))] }},
	"globs not escaped":         {check: "receive/a name of any bytes, escaped as a glob", globs: func(g []string) []string { return []string{strings.ReplaceAll(g[0], `\`, "")} }},
	"a bad tar accepted":        {check: "send/streams that are no tar", err: func(error) error { return nil }},
	"the cause forgotten":       {check: "cancel/before each method", err: func(error) error { return &sandbox.Error{Op: "exec", Err: context.Canceled} }},
	"released taken for lost":   {check: "release/each method after release", err: func(err error) error { return &sandbox.Error{Op: "exec", Kind: sandbox.KindLost, Err: err} }},
	"an error without its type": {check: "env/working directory that is missing or a file", err: func(err error) error { return errors.New(err.Error()) }},
	"a reset that does nothing": {check: "reset/files are gone", reset: func() error { return nil }},
	"a reset without an error":  {check: "reset/after an error nothing but release", reset: func() error { return nil }},
	"a full disk not named":     {check: "limits/disk", result: func(r *sandbox.Result) { r.Limit = "" }},
}

func (p defective) Acquire(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	s, err := p.Provider.Acquire(ctx, spec)
	if err != nil {
		return nil, err
	}
	return defectiveBox{s, p.defect}, nil
}

func (b defectiveBox) Exec(ctx context.Context, cmd sandbox.Command, stdout, stderr io.Writer) (sandbox.Result, error) {
	if b.defect.command != nil {
		b.defect.command(&cmd)
	}
	if b.defect.streams != nil {
		stdout, stderr = b.defect.streams(stdout, stderr)
	}
	res, err := b.Sandbox.Exec(ctx, cmd, stdout, stderr)
	if b.defect.result != nil {
		b.defect.result(&res)
	}
	return res, b.wrong(err)
}

func (b defectiveBox) Send(ctx context.Context, dir string, tar io.Reader) error {
	return b.wrong(b.Sandbox.Send(ctx, dir, tar))
}

func (b defectiveBox) Receive(ctx context.Context, globs []string) (io.ReadCloser, error) {
	if b.defect.globs != nil {
		globs = b.defect.globs(globs)
	}
	r, err := b.Sandbox.Receive(ctx, globs)
	return r, b.wrong(err)
}

func (b defectiveBox) Reset(ctx context.Context) error {
	if b.defect.reset != nil {
		return b.defect.reset()
	}
	return b.Sandbox.(sandbox.Resettable).Reset(ctx)
}

func (b defectiveBox) wrong(err error) error {
	if err == nil || b.defect.err == nil {
		return err
	}
	return b.defect.err(err)
}

// dropper is a writer that loses a byte.
type dropper struct {
	w    io.Writer
	byte byte
}

func (d dropper) Write(b []byte) (int, error) {
	_, err := d.w.Write(bytes.ReplaceAll(b, []byte{d.byte}, nil))
	return len(b), err
}

const defectVar = "SBXRUN_SANDBOXTEST_DEFECT"

// TestDefective is the suite on the provider with the defect that the environment names. It is the child process of
// TestSuiteFindsDefects: a suite that fails can only be watched from outside.
func TestDefective(t *testing.T) {
	if _, child := os.LookupEnv(defectVar); !child {
		return
	}
	d := defects[os.Getenv(defectVar)]
	sandboxtest.Run(t, sandboxtest.Config{
		Open: func(t *testing.T, run sandbox.Run) sandbox.Provider {
			p, err := fake.Open(t.Context(), fake.Options{Run: run, Networks: []sandbox.Network{}})
			if err != nil {
				t.Fatal(err)
			}
			return defective{p, d}
		},
		Enforces:  sandboxtest.Enforces{Disk: true, Inodes: true, PIDs: true, Memory: true, Files: true},
		InProcess: true,
	})
}

func TestSuiteFindsDefects(t *testing.T) {
	for name, d := range defects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := func(defect string) (string, error) {
				pattern := "^TestDefective$/^" + strings.ReplaceAll(strings.ReplaceAll(d.check, " ", "_"), "/", "$/^") + "$"
				cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run", pattern)
				cmd.Env = append(os.Environ(), defectVar+"="+defect)
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			full := "TestDefective/" + strings.ReplaceAll(d.check, " ", "_")
			if out, err := run(""); err != nil || !strings.Contains(out, "--- PASS: "+full) {
				t.Fatalf("without the defect: %v\n%s", err, out)
			}
			if out, err := run(name); err == nil || !strings.Contains(out, "--- FAIL: "+full) {
				t.Errorf("%s did not find it: %v\n%s", d.check, err, out)
			}
		})
	}
}
