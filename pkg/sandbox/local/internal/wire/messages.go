// Package wire is what sbxrun and its spawner say to each other: the messages, and a connection over a unix socket that
// carries them together with open files. What a message makes happen belongs in the spawner.
package wire

import (
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/cgroup"
)

// Hello is the first message; it says for which run the spawner is, and what it cannot find out by itself.
type Hello struct {
	Run     string
	State   string // the folder of locks and records that all runs of this user share
	Lock    string // the file whose lock says that the run lives, to be removed with the last of it; empty: not by the spawner
	Path    string // the host's PATH
	Home    string
	Dir     string            // the working directory
	Env     map[string]string // variables that say where toolchains are
	UID     int               // who runs sbxrun
	Private []string          // folders of sbxrun's own, without symbolic links, which no sandbox sees
	Links   []string          // symbolic links on the way to them
	Cgroups cgroup.Manager
}

// Request asks for one thing, of the fields that are not nil. Seq is the sender's and comes back in the Reply.
type Request struct {
	Seq     uint64
	Hello   *Hello
	Create  *Create
	Exec    *Exec
	Signal  *Signal
	Send    *Send
	Open    *Open
	Release *Release
	Bye     bool // sbxrun ends in good order, and removes its lock itself; the end of the connection follows
}

// Reply answers the Request with the same Seq. Err is nil where it was carried out.
type Reply struct {
	Seq     uint64
	Err     *Error
	Created *Created
	Ended   *Ended
	// Signaled is how many processes a Signal reached.
	Signaled int
}

// Error is an error that crosses the connection.
type Error struct {
	Kind  sandbox.Kind
	Text  string
	Errno int // zero where no system call is behind it
}

func (e *Error) Error() string { return e.Text }

// Create makes a sandbox named ID. It comes with no files; the Reply comes with the sandbox's root folder and workspace.
type Create struct {
	ID   string
	Spec sandbox.Spec // limits are complete
}

// Created describes a sandbox that stands.
type Created struct {
	Host string // its address in its group, or empty
}

// Exec runs a command in a sandbox; its Reply comes when the main process has ended. It comes with stdout and stderr,
// and with stdin first if Stdin is set.
type Exec struct {
	ID     string
	Argv   []string
	Script []byte
	Env    map[string]string
	Dir    string
	Stdin  bool
}

// Ended says how the main process ended.
type Ended struct {
	Status   int // as wait(2) gives it
	CPU      time.Duration
	MaxRSS   int64 // bytes
	Duration time.Duration
	Limit    sandbox.Limit
	Died     bool
}

// Signal sends a signal to all that the request Exec, which may be a Send too, started and that still runs; signal 0 only
// counts it.
type Signal struct {
	ID     string
	Exec   uint64
	Signal int
}

// Send makes files in a sandbox. It comes with a pipe that has the contents of the files, one after the other, or without
// files where these are few bytes and part of the message.
type Send struct {
	ID      string
	Dir     string // absolute
	Entries []Entry
	Content []byte
}

// Entry is a file, folder or link to make.
type Entry struct {
	Kind EntryKind
	Name string // clean and relative to Send.Dir
	Link string // what a symlink says, or the Name that a hard link has too
	Mode uint32 // permission bits
	Size int64
}

// EntryKind tells what an Entry is.
type EntryKind uint8

// The kinds of entries. A Chmod comes after the content of a folder, whose mode may forbid to make any.
const (
	File EntryKind = iota
	Folder
	Symlink
	Hardlink
	Chmod
)

// Open opens a file of a sandbox that its owner may not reach or read. Path is relative to the root. The Reply comes with
// the file: opened for reading or, with Look, only as what it is (O_PATH).
type Open struct {
	ID, Path string
	Look     bool
}

// Release takes a sandbox down.
type Release struct{ ID string }
