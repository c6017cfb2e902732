package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

const (
	// firstBytes is the most of stdin that goes with the start of the command.
	firstBytes = 64 << 10
	// firstWait is for how long the start waits for them.
	firstWait = 10 * time.Millisecond
	// partBytes is the most of one part of stdin: two are here and two in the sandbox at most.
	partBytes = 4 << 20
	// inlinePart is the most of one part that goes with its request.
	inlinePart = 56 << 10
)

// pump reads a command's stdin ahead, up to partBytes.
type pump struct {
	mu     sync.Mutex
	buf    []byte
	err    error // of the reader, io.EOF at its end
	whole  bool  // buf has it all, and goes with the start
	closed bool
	filled chan struct{} // has an item when there is something new
	room   chan struct{} // has an item when there is room again
}

func newPump(r io.Reader) *pump {
	p := &pump{filled: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	if r == nil {
		p.err = io.EOF
		return p
	}
	if known, ok := r.(interface{ Len() int }); ok && known.Len() <= MaxPart {
		p.buf, p.err = io.ReadAll(r)
		if p.err == nil {
			p.err = io.EOF
		}
		p.whole = true
		return p
	}
	go p.read(r)
	return p
}

func (p *pump) read(r io.Reader) {
	chunk := make([]byte, 32<<10)
	for {
		n, err := r.Read(chunk)
		p.mu.Lock()
		p.buf, p.err = append(p.buf, chunk[:n]...), err
		for len(p.buf) >= partBytes && !p.closed {
			p.mu.Unlock()
			notify(p.filled)
			<-p.room
			p.mu.Lock()
		}
		over := err != nil || p.closed
		p.mu.Unlock()
		notify(p.filled)
		if over {
			return
		}
	}
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// close ends the reading with the Read that is under way.
func (p *pump) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.buf = true, nil
	notify(p.room)
}

// first returns what the start of the command takes along, and whether that is all.
func (p *pump) first() ([]byte, bool) {
	timer := time.NewTimer(firstWait)
	defer timer.Stop()
	for {
		p.mu.Lock()
		if p.err != nil || len(p.buf) >= firstBytes {
			n := min(len(p.buf), firstBytes)
			if p.whole {
				n = len(p.buf)
			}
			all := errors.Is(p.err, io.EOF) && n == len(p.buf)
			data := p.buf[:n:n]
			p.buf = p.buf[n:]
			p.mu.Unlock()
			return data, all
		}
		p.mu.Unlock()
		select {
		case <-p.filled:
		case <-timer.C:
			p.mu.Lock()
			defer p.mu.Unlock()
			data := p.buf
			p.buf = nil
			return data, false
		}
	}
}

// next returns what has been read, once there is something; at the end the reader's error.
func (p *pump) next(ctx context.Context, ended <-chan struct{}) ([]byte, error) {
	for {
		p.mu.Lock()
		data, err := p.buf, p.err
		p.buf = nil
		p.mu.Unlock()
		if len(data) > 0 {
			notify(p.room)
			return data, nil
		}
		if err != nil {
			return nil, err
		}
		select {
		case <-p.filled:
		case <-ended:
			return nil, errEnded
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// errEnded says that the command has ended before its stdin.
var errEnded = errors.New("the command has ended")

// feed gives the command its stdin, part by part, behind the one that came with its start.
func (r *run) feed(ctx context.Context, ended <-chan struct{}) error {
	for n := int64(2); ; n++ {
		data, err := r.stdin.next(ctx, ended)
		last, content := "", ""
		switch {
		case errors.Is(err, io.EOF):
			last, n = "1", n-1
		case errors.Is(err, errEnded) || ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("stdin: %w", err)
		case len(data) <= inlinePart:
			content = payload(data)
		default:
			if content, err = r.upload(ctx, "p"+number(n), data); err != nil {
				return err
			}
		}
		taken, err := r.give(ctx, n, last, content)
		if !taken || last != "" {
			return err
		}
	}
}

// give makes the request for one part, until at most one is waiting to be read. It says whether the command takes more.
func (r *run) give(ctx context.Context, n int64, last, content string) (bool, error) {
	for {
		wait, done := r.s.wait()
		a, err := r.s.call(ctx, "feed", r.id, number(n), number(hundredths(wait)), last, content)
		done()
		if err != nil {
			return false, err
		}
		switch a.state {
		case stateRun, stateNew:
		case stateNone: // its start is still on the way
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return false, nil
			}
			continue
		case stateOver:
			return false, nil
		default:
			r.taken(content)
			return false, nil
		}
		r.taken(content)
		if last != "" || fed(a) >= n-1 {
			return true, nil
		}
	}
}

// fed is the number of the last part that was read.
func fed(a answer) int64 {
	for _, l := range a.lines {
		var n int64
		if text, ok := strings.CutPrefix(l, "fed "); ok {
			if _, err := fmt.Sscan(text, &n); err == nil {
				return n
			}
		}
	}
	return 0
}
