// Package fake is a provider of sandboxes that are in memory: files, processes and time of the executor's tests,
// without a machine under them. Commands are Go functions (Program); sh is a POSIX shell that is interpreted in
// process and runs the same functions. What goes wrong is switched on with Provider.Inject, and what was done is
// counted by Provider.Stats. It is for tests only: it isolates nothing, and it enforces only disk and inodes of the
// limits. Nothing of the host is read or written.
package fake

import (
	"context"
	"fmt"
	"io"
	"maps"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Options say what a Provider is. The zero value is a provider whose sandboxes have the Programs of this package.
type Options struct {
	// Run identifies the run; all of it may be empty. Dir and Size are not used.
	sandbox.Run
	// Programs are commands beside, or in place of, the package's own, by the name they are called by.
	Programs map[string]Program
	// Networks are the networks that a Spec may ask for, others are KindUnsupported; nil: every one. There is no
	// network in any of them: a sandbox has a Host, and nothing can be connected to.
	Networks []sandbox.Network
}

// Program is a command written in Go. It returns the exit status, 0 to 255. ctx ends when the process is killed or
// gets a TERM that it does not ignore; what it returns then does not matter.
type Program func(ctx context.Context, p *Process) int

// Process is one running Program.
type Process struct {
	Args    []string // the name it was called by, then its arguments
	Env     func(name string) string
	Dir     string // absolute
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Sandbox *Sandbox
	group   *group
	environ map[string]string
}

// Strike ends the command that the process belongs to as the limit would: OOM with signal 9, PIDs and Disk by being
// named in the Result (the Program then returns the status it fails with).
func (p *Process) Strike(l sandbox.Limit) { p.group.strike(l) }

// IgnoreTerm makes the command survive a TERM, as `trap "" TERM` does in a script; only KILL ends it then.
func (p *Process) IgnoreTerm() { p.group.ignoreTerm() }

// disk is the files that the command began with: what outlives a reset writes where nobody looks.
func (p *Process) disk() *vfs { return p.group.life.disk() }

func (p *Process) setenv(name, value string) {
	p.environ = maps.Clone(p.environ)
	p.environ[name] = value
	p.Env = func(name string) string { return p.environ[name] }
}

// Printf writes to the process's stdout.
func (p *Process) Printf(format string, args ...any) { fmt.Fprintf(p.Stdout, format, args...) }

// Stats count what was asked of a Provider since it was opened.
type Stats struct {
	Acquired int64 // sandboxes handed out
	Refused  int64 // Acquires that returned an error
	Released int64 // sandboxes taken down, each counted once
	Live     int64 // handed out and not taken down: what leaks when it is not zero at the end
	MostLive int64 // the highest that Live was
	Execs    int64 // commands that were started; one that a fault struck before its start is not counted
	Sends    int64
	Receives int64
	Resets   int64 // that came to their end
}
