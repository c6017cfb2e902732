package executor

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// box is a sandbox of one try of a sample, with what must be remembered of it.
type box struct {
	sb   sandbox.Sandbox
	spec sandbox.Spec

	uses  int       // samples that had the sandbox before
	sort  string    // see sortOf; empty where no sandbox is used again
	since time.Time // it is kept

	staged   sync.Mutex // held while the files of its first use are staged
	isStaged bool
	staging  outcome

	mu      sync.Mutex
	idle    *sync.Cond // signalled when running becomes zero, or died true
	running int        // commands
	used    int        // commands that were started, or may have been
	given   bool       // files of another sandbox were put into it, or may have been
	died    bool       // by itself, of what runs in it
	lost    bool
}

func newBox(sb sandbox.Sandbox, spec sandbox.Spec) *box {
	b := &box{sb: sb, spec: spec}
	b.idle = sync.NewCond(&b.mu)
	return b
}

// exec runs a command and notes what it tells of the sandbox's state. The result's duration is there with an error too: how
// long that took to come.
func (b *box) exec(ctx context.Context, cmd sandbox.Command, stdout, stderr io.Writer) (sandbox.Result, error) {
	b.mu.Lock()
	b.running++
	b.used++
	b.mu.Unlock()
	done := func(res sandbox.Result, err error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.died = b.died || res.SandboxDied
		b.lost = b.lost || sandboxLost(err)
		if e, ok := errors.AsType[*sandbox.Error](err); ok && e.Unstarted {
			b.used--
		}
		if b.running--; b.running == 0 || b.died {
			b.idle.Broadcast()
		}
	}
	returned := false
	defer func() { // a provider that panics must not keep others waiting
		if !returned {
			done(sandbox.Result{}, nil)
		}
	}()
	start := time.Now()
	res, err := b.sb.Exec(ctx, cmd, stdout, stderr)
	if err != nil {
		res.Duration = time.Since(start)
	}
	returned = true
	done(res, err)
	return res, err
}

// settle bounds the wait of hasDied.
const settle = 2 * time.Second

// hasDied says, of a sandbox that a call found lost, whether what runs in it killed it. The command that knows may be
// about to return: in a sandbox that is gone all of them do.
func (b *box) hasDied() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	late := false
	timer := time.AfterFunc(settle, func() {
		b.mu.Lock()
		late = true
		b.idle.Broadcast()
		b.mu.Unlock()
	})
	defer timer.Stop()
	for b.running > 0 && !b.died && !late {
		b.idle.Wait()
	}
	return b.died
}

// gone says whether the sandbox can run nothing any more, as far as is known.
func (b *box) gone() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.died || b.lost
}

// restful says whether nothing runs in it and nothing is known to be wrong with it.
func (b *box) restful() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.running == 0 && !b.died && !b.lost
}

// wasUsed says whether a command was started in it.
func (b *box) wasUsed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used > 0
}

// gives notes that files which another sandbox made are about to be put into it.
func (b *box) gives() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.given = true
}

// shaped says whether what is in it may be the work of the code under test: it ran there, or its files were put there.
func (b *box) shaped() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used > 0 || b.given
}

func sandboxLost(err error) bool {
	var e *sandbox.Error
	return errors.As(err, &e) && e.Kind == sandbox.KindLost
}
