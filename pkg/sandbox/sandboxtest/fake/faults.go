package fake

import (
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Point is where a Fault strikes.
type Point string

// The points.
const (
	Acquire     Point = "acquire"
	ExecStart   Point = "exec start"   // before the command starts: it certainly did not run
	ExecEnd     Point = "exec end"     // after the command ran and wrote its output: its result is lost
	Send        Point = "send"         // before anything is unpacked
	Receive     Point = "receive"      // Receive itself returns the error
	ReceiveRead Point = "receive read" // the stream breaks after its first 512 bytes
	Release     Point = "release"      // the sandbox stays, and a later Release may take it down
	Close       Point = "close"        // before anything is released
)

// Fault is something that goes wrong, or takes long, at a Point. At most one Fault strikes a call at a Point: the
// first injected that matches.
type Fault struct {
	At Point
	// Name restricts the fault to sandboxes whose Spec has this name; empty: all.
	Name string
	// Skip lets this many matching calls through first.
	Skip int
	// Times is how many calls it strikes; zero: every one until Provider.Clear.
	Times int
	// Delay is waited first; the end of the context ends the wait, with its cause.
	Delay time.Duration
	// Hang waits until the context ends, or the sandbox is released.
	Hang bool
	// Kind and Err make the *sandbox.Error that is returned. Err nil: the call goes on after Delay.
	Kind sandbox.Kind
	Err  error
	// Gone takes the sandbox away at this point, as a deleted pod: this call and every later one but Release is
	// KindLost.
	Gone bool
	// Die kills the sandbox's first process at this point: the running commands end with SandboxDied, later ones
	// are KindLost.
	Die bool
}
