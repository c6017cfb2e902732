package local

import (
	"errors"
	"os"
	"sync"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/spawner"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/userns"
)

// Ahead is a spawner that starts before there is a provider, while the caller finds out what is to run: to start takes it
// about as long as that. It owns nothing yet, and until it is taken it ends with the caller.
type Ahead struct {
	mu   sync.Mutex
	over bool // taken, or not wanted any more

	done chan struct{} // closed once the rest is set
	proc *spawner.Process
	err  error
}

// StartAhead starts a spawner for the Options of one provider. It waits for nothing; Close ends what no provider took.
func StartAhead() *Ahead {
	a := &Ahead{done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.proc, a.err = startSpawner()
	}()
	return a
}

// take returns the spawner, nil if there is none to take or it has ended. Its error is that of startSpawner.
func (a *Ahead) take() (*spawner.Process, error) {
	if a == nil {
		return nil, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return nil, nil
	}
	a.over = true
	<-a.done
	if a.proc == nil {
		return nil, a.err
	}
	select {
	case <-a.proc.Done():
		return nil, a.proc.Conn.Close()
	default:
		return a.proc, nil
	}
}

// Close ends the spawner if no provider has taken it. It may be called twice, and on nil.
func (a *Ahead) Close() {
	if proc, _ := a.take(); proc != nil {
		proc.Kill()
		<-proc.Done()
		proc.Conn.Close()
	}
}

// startSpawner starts a spawner. The error is of kind unsupported: why there can be none here.
func startSpawner() (*spawner.Process, error) {
	root := os.Geteuid() == 0
	if root && !isPrivileged() {
		return nil, &sandbox.Error{Op: "acquire", Kind: sandbox.KindUnsupported, Err: errors.New(
			"this root has no CAP_SYS_ADMIN (a container's, probably), and a sandbox would run as root of the host: run sbxrun as an ordinary user, or give the container --cap-add SYS_ADMIN")}
	}
	forking.Lock()
	proc, err := spawner.Start(root)
	forking.Unlock()
	if err != nil {
		if !root {
			err = userns.Explain(userns.StepClone, err)
		}
		return nil, &sandbox.Error{Op: "acquire", Kind: sandbox.KindUnsupported, Err: err}
	}
	return proc, nil
}
