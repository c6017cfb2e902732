package local

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/spawner"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/wire"
)

// client asks the spawner for things.
type client struct {
	proc *spawner.Process

	mu    sync.Mutex
	seq   uint64
	calls map[uint64]chan answer
	lost  error
}

type answer struct {
	reply wire.Reply
	files []int
	err   error
}

func newClient(proc *spawner.Process) *client {
	c := &client{proc: proc, calls: map[uint64]chan answer{}}
	go c.receive()
	return c
}

// errSpawner is behind the errors of calls whose spawner is gone.
var errSpawner = errors.New("the process that owns the sandboxes has ended")

// lostError is the error of what needs a spawner that is gone. It only ends before its time where something kills it.
func lostError(err error) error {
	return fmt.Errorf("%w (%w): it was killed, for want of memory perhaps; the kernel's log may say so, and -j makes fewer sandboxes at a time", errSpawner, err)
}

// isLost says whether the spawner is gone.
func (c *client) isLost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost != nil
}

// ended waits until a spawner that is lost has ended, and with it every process of its sandboxes: it is the first process
// of the PID namespace that they are in, which the kernel waits for to be empty.
func (c *client) ended(ctx context.Context) error {
	c.proc.Conn.Close() // should it live all the same
	select {
	case <-c.proc.Done():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(closeTimeout):
	}
	c.proc.Kill()
	return errors.New("the process that owns the sandboxes does not end")
}

func (c *client) receive() {
	for {
		var reply wire.Reply
		files, err := c.proc.Conn.Receive(&reply)
		c.mu.Lock()
		if err != nil {
			c.lost = lostError(err)
			for _, ch := range c.calls {
				ch <- answer{err: c.lost}
			}
			c.calls = nil
			c.mu.Unlock()
			return
		}
		ch := c.calls[reply.Seq]
		delete(c.calls, reply.Seq)
		c.mu.Unlock()
		if ch == nil {
			wire.CloseAll(files)
			continue
		}
		ch <- answer{reply: reply, files: files}
	}
}

// begin sends a request; the answer comes on the channel, which has room for it. files stay the caller's.
func (c *client) begin(req wire.Request, files ...int) (seq uint64, ch chan answer, err error) {
	ch = make(chan answer, 1)
	c.mu.Lock()
	if c.lost != nil {
		c.mu.Unlock()
		return 0, nil, c.lost
	}
	c.seq++
	req.Seq = c.seq
	c.calls[req.Seq] = ch
	c.mu.Unlock()
	if err := c.proc.Conn.Send(req, files...); err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.calls, req.Seq)
		if errors.Is(err, wire.ErrTooLong) {
			return 0, nil, invalid("%w", err)
		}
		if c.lost == nil { // receive is about to find out too
			c.lost = lostError(err)
		}
		return 0, nil, c.lost
	}
	return req.Seq, ch, nil
}

// call sends a request and waits for its answer.
func (c *client) call(ctx context.Context, req wire.Request) (wire.Reply, []int, error) {
	_, ch, err := c.begin(req)
	if err != nil {
		return wire.Reply{}, nil, err
	}
	select {
	case a := <-ch:
		return a.result()
	case <-ctx.Done():
		go func() { // what comes all the same is nobody's
			a := <-ch
			wire.CloseAll(a.files)
		}()
		return wire.Reply{}, nil, context.Cause(ctx)
	}
}

func (a answer) result() (wire.Reply, []int, error) {
	if a.err != nil {
		return wire.Reply{}, nil, a.err
	}
	if a.reply.Err != nil {
		wire.CloseAll(a.files)
		return a.reply, nil, a.reply.Err
	}
	return a.reply, a.files, nil
}

// close ends the spawner, which takes down what it has left. The error is errSpawner where it was killed.
func (c *client) close(ctx context.Context) error {
	_ = c.proc.Conn.Send(wire.Request{Bye: true}) // its error means that the spawner is gone, which Done tells
	c.proc.Conn.Close()
	select {
	case <-c.proc.Done():
		err := c.proc.Err()
		if c.proc.Killed() {
			return lostError(err)
		}
		if err != nil {
			return fmt.Errorf("spawner: %w", err)
		}
		return nil
	case <-ctx.Done():
	case <-time.After(closeTimeout):
	}
	c.proc.Kill()
	return errors.New("the spawner did not end and was killed; `sbxrun gc` removes what it left")
}

// wrap makes an error of the spawner one of the contract. A cancelled context's cause is passed on as it is.
func wrap(ctx context.Context, op, id string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return err
	}
	kind := sandbox.KindInternal
	var known *sandbox.Error
	var theirs *wire.Error
	switch {
	case errors.As(err, &known):
		if known.Op == "" {
			known.Op, known.ID = op, id
		}
		return err
	case errors.As(err, &theirs):
		kind = theirs.Kind
	case errors.Is(err, errSpawner):
		kind = sandbox.KindLost
	}
	return &sandbox.Error{Op: op, ID: id, Kind: kind, Err: err}
}
