package executor_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// slowEnds wraps a provider whose releases, from the second on, wait for another sandbox to be acquired, for a while.
type slowEnds struct {
	sandbox.Provider
	patience time.Duration

	mu         sync.Mutex
	acquired   chan struct{} // closed by the next Acquire
	live, most int
	released   int
	overlapped int
}

func (p *slowEnds) Confines(spec sandbox.Spec) bool {
	return spec.Network == sandbox.NetworkNone && len(spec.Local.Mounts) == 0
}

func (p *slowEnds) Acquire(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	sb, err := p.Provider.Acquire(ctx, spec)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live++
	p.most = max(p.most, p.live)
	if p.acquired != nil {
		close(p.acquired)
		p.acquired = nil
	}
	return slowEnd{sb, p}, err
}

type slowEnd struct {
	sandbox.Sandbox
	p *slowEnds
}

func (s slowEnd) Release(ctx context.Context) error {
	p := s.p
	p.mu.Lock()
	wait := make(chan struct{})
	p.acquired = wait
	first := p.released == 0
	p.released++
	p.mu.Unlock()
	if !first {
		select {
		case <-wait:
			p.mu.Lock()
			p.overlapped++
			p.mu.Unlock()
		case <-time.After(p.patience):
		}
	}
	err := s.Sandbox.Release(ctx)
	p.mu.Lock()
	p.live--
	p.mu.Unlock()
	return err
}

// The next sample begins while the sandboxes of one that has passed are taken down, where nobody can tell the difference.
func TestNextSampleBeginsDuringRelease(t *testing.T) {
	const step = "steps: [{name: a, run: 'true'}]"
	for _, tt := range []struct {
		name, recipe string
		overlaps     bool
	}{
		{"no network", "pool: {size: 1}\nsandboxes: {box: {network: none}}\n" + step, true},
		{"three at a time", "pool: {size: 3}\nsandboxes: {box: {network: none}}\n" + step, true},
		{"the host's network, where a port may still be taken", "pool: {size: 1}\nsandboxes: {box: {network: host}}\n" + step, false},
		{"a folder of the host's", "pool: {size: 1}\nsandboxes: {box: {network: none, local: {mounts: [{src: /tmp, dst: /m, writable: true}]}}}\n" + step, false},
		{"none beyond the size", "pool: {size: 1, warm: 0}\nsandboxes: {box: {network: none}}\n" + step, false},
		{"as many as are acquired ahead", "pool: {size: 1, warm: 1}\nsandboxes: {box: {network: none}}\n" + step, true},
		{"failures", "pool: {size: 1}\nsandboxes: {box: {network: none}}\nsteps: [{name: a, run: 'false'}]", false},
		{"failures at last", "pool: {size: 1}\nsandboxes: {box: {network: none}}\n" + step + "\nfinally: [{name: b, run: 'false'}]", false},
		{"verify", "pool: {size: 1}\nsandboxes: {box: {network: none}}\n" + step + "\nverify: [{name: v, run: 'true'}]", false},
	} {
		inBubble(t, func(t *testing.T) {
			b := newBench(t)
			p := &slowEnds{patience: 50 * time.Millisecond}
			b.wrap = func(inner sandbox.Provider) sandbox.Provider {
				p.Provider = inner
				return p
			}
			ends, released := 0, 0
			b.onEvent = func(e event.Event) {
				if e.Type != event.TypeSampleEnd {
					return
				}
				p.mu.Lock()
				defer p.mu.Unlock()
				if ends++; p.released < ends {
					t.Errorf("%d samples have ended and %d sandboxes were released", ends, p.released)
				}
				released = p.released
			}
			// The first release says that it is quick; the last has no next sandbox to wait for.
			b.run("cases: {matrix: {n: [1, 2, 3, 4, 5, 6], m: [1, 2]}}\n" + tt.recipe)
			if len(b.samples()) != 12 || released < 12 {
				t.Errorf("%s: %d samples, %d releases", tt.name, len(b.samples()), released)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			most := 1
			if strings.Contains(tt.recipe, "size: 3") {
				most = 3
			}
			if tt.overlaps {
				most *= 2
			}
			if tt.overlaps && p.overlapped == 0 || p.most > most {
				t.Errorf("%s: %d releases during which another sandbox was acquired, %d sandboxes at once", tt.name, p.overlapped, p.most)
			}
		})
	}
}
