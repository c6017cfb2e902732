package claim

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// Options of Open.
type Options struct {
	Cluster *cluster.Cluster
	Run     sandbox.Run
	// AcquireLimit is the most that Acquire waits for a claim to become ready; zero: as long as its context lets it.
	AcquireLimit time.Duration
	// Peek is how long a claim may take before its pod is looked at for what will never get better; zero is 10 s. Each
	// later look takes twice as long to come.
	Peek time.Duration
	// Entrances are who may connect to sandboxes whose network the run itself writes. Exec and port-forward to the
	// pod need none.
	Entrances []Peer
	// Service gives sandboxes of the run's own templates a Service, so that they have a name in the cluster's DNS.
	Service bool
	// Trace writes the trace context of Acquire's context onto the claim.
	Trace bool
}

// Claims are those of one run. Its methods may be called from many goroutines.
type Claims struct {
	o   Options
	api api
	box boxAPI
	seq atomic.Int64

	// base is what outlives a single call: renewals, the watch, work that several calls wait for.
	base context.Context
	stop context.CancelFunc
	// open ends when Close begins: nothing new is made.
	open  context.Context
	close context.CancelCauseFunc

	flight singleflight.Group
	mu     sync.Mutex
	closed bool
	busy   sync.WaitGroup // Acquires under way
	watch  *watch         // nil before the first Acquire
	lease  *lease
	pools  map[string]*pool
	made   map[string]*pool // by name: what Close has to remove, also where making it failed
	groups map[string]*group
	secret string // in what nobody else may be able to tell
}

// Open finds out which versions of the API are served: one request. Lease and watch come with the first Acquire.
func Open(ctx context.Context, o Options) (*Claims, error) {
	api, box, err := discover(ctx, o.Cluster)
	if err != nil {
		return nil, err
	}
	c := &Claims{o: o, api: api, box: box, pools: map[string]*pool{}, made: map[string]*pool{}, groups: map[string]*group{}, secret: rand.Text()}
	c.base, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	c.open, c.close = context.WithCancelCause(c.base)
	return c, nil
}

// begin makes the Lease and starts the watch, once a run.
func (c *Claims) begin(ctx context.Context) error {
	if l := c.begun(); l != nil {
		return l.err()
	}
	_, err := shared(ctx, c, "begin", func(ctx context.Context) (*lease, error) {
		if l := c.begun(); l != nil {
			return l, nil
		}
		l, err := c.takeLease(ctx)
		if err != nil {
			return nil, err
		}
		w := c.startWatch()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lease, c.watch = l, w
		return l, nil
	})
	return err
}

func (c *Claims) begun() *lease {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lease
}

// shared does what several calls at once need, and does it once. It runs on where the call that began it is
// cancelled, until Close.
func shared[T any](ctx context.Context, c *Claims, key string, f func(context.Context) (T, error)) (T, error) {
	var zero T
	done := c.flight.DoChan(key, func() (any, error) { return f(c.open) })
	select {
	case <-ctx.Done():
		if c.open.Err() != nil {
			<-done // Close waits for this call, and so for what it began
		}
		return zero, cluster.Classify("acquire", "", context.Cause(ctx))
	case r := <-done:
		if r.Err != nil {
			return zero, r.Err
		}
		v, ok := r.Val.(T)
		if !ok {
			return zero, nil
		}
		return v, nil
	}
}

// errClosed ends Acquires once Close has begun.
var errClosed = &sandbox.Error{Op: "acquire", Kind: sandbox.KindReleased, Err: errors.New("the provider is closed")}

// enter counts an Acquire, so that Close can wait for it.
func (c *Claims) enter() (leave func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	c.busy.Add(1)
	return c.busy.Done, nil
}
