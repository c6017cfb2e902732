package shell

import (
	"context"
	"time"
)

// What a Transport has to carry.
const (
	// MaxRun is how long one Run may take, its answer included. The protocol's own requests wait for at most 10 s, and ask
	// for less where answers do not come in time.
	MaxRun = 20 * time.Second
	// MaxArgv is the most bytes of an argv together.
	MaxArgv = 100 << 10
	// MaxPart is the most bytes of one Upload.
	MaxPart = 8 << 20
	// MaxReply is the most bytes of stdout that the protocol asks for; more is no answer.
	MaxReply = 8 << 20
)

// UploadLimit is how long one Upload of so many bytes may take: a line that carries 8 KiB a second for it is fast enough.
// A Transport has to notice itself that nothing moves any more.
func UploadLimit(size int) time.Duration {
	return time.Minute + time.Duration(size>>13)*time.Second
}

// Transport runs short commands in one container. Every call may be lost, answered late, or carried out twice: the protocol
// makes each idempotent. Its methods may be called from many goroutines.
type Transport interface {
	// Run runs argv, with no shell in between and no stdin, and returns what it wrote. argv and stdout are ASCII without
	// carriage returns. An error means that there is no answer, and that nothing is known of whether argv ran, unless
	// there is a *sandbox.Error in its chain: that is final. A cancelled context ends the wait, not the command.
	Run(ctx context.Context, argv []string) (Reply, error)
	// Upload makes a file, or replaces it, and returns its absolute path in the container. The name is of [a-z0-9-],
	// at most 60 characters. Errors are as with Run.
	Upload(ctx context.Context, name string, data []byte) (path string, err error)
}

// Reply is what a short command wrote, and its exit status.
type Reply struct {
	Stdout, Stderr []byte
	Exit           int
}
