package sandbox

import (
	"errors"
	"fmt"
)

// Kind says what an error of a provider means for the run.
type Kind int

// The kinds of errors.
const (
	// KindInternal: a defect or an unexpected state of the provider.
	KindInternal Kind = iota
	// KindUnsupported: the provider, on this machine, cannot give what is asked. Nothing was started; trying again
	// does not help. The message names the blocker and its remedy.
	KindUnsupported
	// KindUnavailable: the sandbox could not be made now; trying again may help.
	KindUnavailable
	// KindLost: a sandbox that existed is gone, or cannot be reached.
	KindLost
	// KindReleased: the sandbox was released before, or while, the call was made.
	KindReleased
	// KindNotFound: a path does not exist in the sandbox.
	KindNotFound
	// KindInvalid: the request itself cannot be carried out, because of what is in the sandbox or in the request (a
	// path through a file, an invalid tar, a bad glob).
	KindInvalid
	// KindNoSpace: no room is left within the sandbox's own disk limit.
	KindNoSpace
)

var kindNames = [...]string{"internal", "unsupported", "unavailable", "lost", "released", "not found", "invalid", "no space"}

func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind(%d)", int(k))
	}
	return kindNames[k]
}

// Error is what the methods of Provider and Sandbox return.
type Error struct {
	Op   string // what was done: acquire, exec, send, receive, release, close, open
	ID   string // the sandbox, or empty
	Kind Kind
	Err  error
	// Unstarted is true of an Exec whose command certainly did not start, so that it may be run in another sandbox.
	Unstarted bool
}

func (e *Error) Error() string {
	if e.ID == "" {
		return fmt.Sprintf("%s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("%s %s: %v", e.Op, e.ID, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first *Error in err's chain, KindInternal if there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}
