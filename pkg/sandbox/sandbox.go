// Package sandbox is the contract between the executor and the providers of sandboxes: what may be asked of a
// sandbox, what comes back, and how failures are told apart. It holds data types, two interfaces, typed errors and
// helpers that are written on top of them. It imports the standard library only. How a sandbox is made belongs in
// the provider's own package (local, kubernetes); what a result means for a test belongs in the executor.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Provider makes sandboxes for one run. Its methods may be called from many goroutines.
//
// A provider package has a function Open(ctx, Options) that returns its Provider; Options embeds Run.
type Provider interface {
	// Acquire makes one sandbox, or waits for one. It returns when the sandbox can run commands. A cancelled
	// context ends the wait and leaves nothing behind. The error is an *Error, with context.DeadlineExceeded in its chain
	// where a limit of the provider's own ended the wait: it was all that there is.
	Acquire(ctx context.Context, spec Spec) (Sandbox, error)
	// Close releases every sandbox that is still held, those too whose Release failed, and everything else that the provider
	// made for the run. It is safe to call twice. The error names what could not be taken down; without one nothing is left.
	Close(ctx context.Context) error
}

// Sandbox is one acquired sandbox. Its methods may be called from many goroutines. After Release every method but ID
// returns an *Error of KindReleased.
type Sandbox interface {
	// ID names the sandbox, unique in the run and fit for a file name.
	ID() string
	// Exec runs a command and returns when its main process has ended and the output written until then is in
	// stdout and stderr; processes that it left running do not hold it up. A command that fails is not an error:
	// the error is an *Error and says that the sandbox, or the way to it, failed. When ctx is cancelled the command
	// and all it started are killed and Exec returns ctx's cause.
	// stdout and stderr may be nil. They are not called after Exec has returned.
	Exec(ctx context.Context, cmd Command, stdout, stderr io.Writer) (Result, error)
	// Send unpacks a tar stream into dir (see Workspace), making dir and missing parents. Entries are files, directories,
	// symlinks and hard links; permission bits are kept, owners are the sandbox's. An existing file is replaced; no
	// symlink of the stream or of the sandbox leads the unpacking out of the sandbox.
	Send(ctx context.Context, dir string, tar io.Reader) error
	// Receive streams what the globs match as a tar: a match's name is its path with a leading slash removed for
	// absolute globs, relative to the workspace otherwise. Globs are doublestar patterns ("out/**/*.json"); a matched
	// directory comes with its content. Symlinks are entries of type symlink, never followed; FIFOs, sockets and
	// devices are entries of their type without content, so that the caller can refuse them. The order is the
	// lexical order of names. No match is an empty stream. Read errors of the stream are *Error.
	Receive(ctx context.Context, globs []string) (tar io.ReadCloser, err error)
	// Release takes the sandbox down: processes, mounts, files, network. It is safe to call twice and while other
	// methods run; those end with KindReleased.
	Release(ctx context.Context) error
}

// Addressed is implemented by sandboxes that others of their Group can reach.
type Addressed interface {
	// Host returns the address (or name) under which sandboxes of the same group reach this one.
	Host() string
}

// Resettable is implemented by sandboxes that can be given to another sample without being made anew.
type Resettable interface {
	// Reset kills everything that runs in the sandbox and removes what was written in it, so that the next command finds
	// an empty workspace and an empty $TMPDIR, as in a new sandbox. Running calls of Exec, Send and Receive end: a command
	// as killed by a signal or with an *Error, a stream with an *Error. It renews whatever lets the sandbox expire.
	//
	// It guards against leftovers, not against hostility: what has the same rights as the runtime can survive it.
	//
	// After an error, a cancelled context too, nothing is known of what is left in the sandbox: every method but ID and
	// Release returns an *Error of KindLost. After Release it is KindReleased. No other call is begun before it has returned.
	Reset(ctx context.Context) error
}

// Warner is implemented by providers that cannot enforce everything that a Spec asks for. The executor asks once
// before anything starts and shows each line.
type Warner interface {
	// Warnings says, one line each, what is only approximated or not enforced for spec.
	Warnings(spec Spec) []string
}

// Confiner is implemented by providers that can promise, of some sandboxes, that what happens in them stays in them. Work
// that may have been done in such a sandbox is done again in a new one after an infrastructure error; other work is not.
type Confiner interface {
	// Confines says whether nothing that runs in a sandbox of spec can have an effect outside of its Group that outlives
	// the Group. It is true only where the provider itself enforces that.
	Confines(spec Spec) bool
}

// Run identifies the run that a provider is opened for.
type Run struct {
	// ID is unique on the machine, at most 24 characters of [a-z0-9-]. It is part of the name of everything that
	// the provider makes.
	ID string
	// Dir is an absolute, existing folder of the run's own for what the provider must keep on disk.
	Dir string
	// Size is the most samples in flight; a provider may prepare for it.
	Size int
}

// Network says what a sandbox can reach.
type Network string

// The networks of a sandbox. The empty Network is the provider's default: none locally, the template's on Kubernetes.
const (
	NetworkNone Network = "none" // nothing but the sandbox itself (loopback works)
	NetworkCase Network = "case" // the sandboxes of the same Group, and nothing else
	NetworkHost Network = "host" // the host's network
)

// Spec says what sandbox is wanted. Everything in it is already interpolated.
type Spec struct {
	// Name is the recipe's name of the sandbox ("default" for the unnamed one).
	Name string
	// Group is what sandboxes that may reach each other have in common: one sample's, or one verify's.
	Group string
	// Labels tell case and sample, for annotations and names that people read.
	Labels  map[string]string
	Network Network
	Limits  Limits
	Local   Local
	Cluster Cluster
}

// Limits of one sandbox. Zero means the provider's default; see DefaultLimits.
type Limits struct {
	CPU    int64 // thousandths of a core; zero: no limit
	Memory int64 // bytes, without what is on Disk
	PIDs   int64 // processes and threads
	Disk   int64 // bytes in workspace, /tmp and /dev/shm together
	Inodes int64 // files in workspace, /tmp and /dev/shm together
	Files  int64 // open descriptors of a process
	Output int64 // bytes of each of stdout and stderr, of one command; the executor copies it into Command
}

// DefaultLimits are what a recipe gets that does not say otherwise.
var DefaultLimits = Limits{Memory: 1 << 30, PIDs: 256, Disk: 512 << 20, Inodes: 100_000, Files: 1024, Output: 16 << 20}

// WithDefaults returns l with DefaultLimits where it is zero.
func (l Limits) WithDefaults() Limits {
	set := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	set(&l.Memory, DefaultLimits.Memory)
	set(&l.PIDs, DefaultLimits.PIDs)
	set(&l.Disk, DefaultLimits.Disk)
	set(&l.Inodes, DefaultLimits.Inodes)
	set(&l.Files, DefaultLimits.Files)
	set(&l.Output, DefaultLimits.Output)
	return l
}

// Isolation says how the local provider keeps a sandbox apart.
type Isolation string

// The isolations of the local provider. The empty Isolation is namespaces.
const (
	IsolationNamespaces Isolation = "namespaces"
	IsolationNone       Isolation = "none" // isolates nothing
)

// Local is what only the local provider looks at.
type Local struct {
	// Rootfs is empty for the host's read-only allowlist, else an absolute folder that is used copy-on-write.
	Rootfs    string
	Mounts    []Mount
	Isolation Isolation
}

// Mount adds a file or folder of the host to a local sandbox.
type Mount struct {
	Source   string // absolute path on the host
	Target   string // absolute path in the sandbox; empty: Source
	Writable bool
}

// Cluster is what only the Kubernetes provider looks at.
type Cluster struct {
	WarmPool, Template, Image string
	Spec                      []byte // a SandboxTemplate spec as JSON
	Runtime                   string
	Port                      int
	Labels                    map[string]string
	PodLabels, PodAnnotations map[string]string
	Volumes                   []byte // volume claim templates as JSON
}

// Command is one command to run.
type Command struct {
	// Argv is the program and its arguments. A program without a slash is looked up in the command's PATH.
	Argv []string
	// Script, if not empty, is put into a file outside the workspace, whose path is appended to Argv.
	Script []byte
	// Env is added to the base environment (PATH, HOME, TMPDIR, LANG, TZ, SBXRUN_WORKSPACE) and wins over it.
	Env map[string]string
	// Dir is the working directory (see Workspace); empty is the workspace. One that does not exist is KindNotFound,
	// one that is no directory KindInvalid.
	Dir string
	// Stdin is read to its end, or until the command ends; nil is an empty stream.
	Stdin io.Reader
	// Timeout kills the command and all it started; zero is none.
	Timeout time.Duration
	// OutputLimit is the most bytes of stdout, and of stderr, that are passed on; one byte more kills the command and
	// all it started. Zero is none.
	OutputLimit int64
	// Stop, once closed, ends the command: TERM to all it started, after Grace KILL. nil: never.
	Stop  <-chan struct{}
	Grace time.Duration
}

// Check says why no sandbox could run c, as a text for an *Error of KindInvalid: without a program, or with a zero byte, at
// which the kernel would end an argument.
func (c Command) Check() error {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return errors.New("a command without a program")
	}
	for i, arg := range c.Argv {
		if strings.IndexByte(arg, 0) >= 0 {
			return fmt.Errorf("argument %d has a zero byte in it", i)
		}
	}
	for name, value := range c.Env {
		switch {
		case name == "" || strings.ContainsAny(name, "=\x00"):
			return fmt.Errorf("%q is no name of a variable", name)
		case strings.IndexByte(value, 0) >= 0:
			return fmt.Errorf("the variable %s has a zero byte in it", name)
		}
	}
	if strings.IndexByte(c.Dir, 0) >= 0 {
		return errors.New("the working directory has a zero byte in it")
	}
	return nil
}

// Limit names the limit that struck a command.
type Limit string

// The limits that can end a command, or make it fail. Timeout and Output always end it; OOM is a process of the command
// (or of its sandbox) killed for memory; PIDs and Disk are reported when the command failed and the limit was hit
// while it ran.
const (
	LimitNone    Limit = ""
	LimitTimeout Limit = "timeout"
	LimitOutput  Limit = "output"
	LimitOOM     Limit = "oom"
	LimitPIDs    Limit = "pids"
	LimitDisk    Limit = "disk" // blocks or inodes
)

// Result says how a command ended.
type Result struct {
	// Exit is the exit status, 0 to 255, or 128+Signal. It is 127 with a line on stderr where the program was not
	// found and 126 where it could not be executed, as in a POSIX shell.
	Exit int
	// Signal is the number of the signal that ended the main process, or zero.
	Signal int
	// Limit is the limit that struck.
	Limit Limit
	// Stopped is true where Command.Stop ended it.
	Stopped bool
	// SandboxDied is true where the command ended because the sandbox's own first process was killed from inside or
	// by a limit: no further command can run in it. The code under test did that.
	SandboxDied bool
	// Duration is wall time from start to end of the main process.
	Duration time.Duration
	// CPU is user and system time of the main process and its waited-for children; MaxRSS their largest resident
	// set in bytes. Zero where unknown.
	CPU    time.Duration
	MaxRSS int64
}

// Workspace is the path of the workspace inside every local sandbox; others may differ and tell by
// $SBXRUN_WORKSPACE. Relative paths given to a Sandbox are relative to the workspace, absolute ones are the sandbox's.
const Workspace = "/workspace"
