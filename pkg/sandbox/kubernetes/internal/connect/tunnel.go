package connect

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/portforward"
)

const (
	// mostSessions take new streams, however many sandboxes there are.
	mostSessions = 2
	// crowded is how many streams a session has before a second one is made beside it.
	crowded = 32
	// patience is for a session to open a stream. One whose other end is stuck, as a kubelet's can be behind data for a pod that
	// has closed its side, opens none.
	patience = 5 * time.Second
	// makeLimit is for one session to be made, with the API server's moments of weakness in it.
	makeLimit = time.Minute
	// A session that cannot be made is tried again after twice as long each time.
	firstPause, lastPause = 100 * time.Millisecond, 5 * time.Second
	// A session that failed one stream takes no new ones; those that it has get this long to end.
	retirement = 2 * time.Minute
)

// tunnel reaches the router through the API server: sessions to its pods, made when there is need, and made again when they
// are lost. Every HTTP connection is one stream of a session.
type tunnel struct {
	cluster   *cluster.Cluster
	namespace string
	ctx       context.Context // of the making of sessions; ended by close
	cancel    context.CancelFunc
	making    singleflight.Group

	mu       sync.Mutex
	sessions []*session                        // that take new streams
	all      map[*portforward.Session]struct{} // those that are retired too
	turn     int                               // which of the router's pods is next
	failures int                               // sessions in a row that could not be made, or carried nothing
	problem  error                             // of the last of them
}

// session is a port-forward to one pod of the router.
type session struct {
	*portforward.Session
	port int
}

func (s *session) open(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no stream within %v", patience))
	defer cancel()
	return s.Dial(ctx, s.port)
}

func newTunnel(c *cluster.Cluster, o Options) (*tunnel, error) {
	if err := checkNamespace("--router-namespace", o.RouterNamespace); err != nil {
		return nil, err
	}
	t := &tunnel{cluster: c, namespace: o.RouterNamespace, all: map[*portforward.Session]struct{}{}}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t, nil
}

// url names the router; dial does not look at it.
func (t *tunnel) url(Target) (string, error) {
	return "http://" + routerService + "." + t.namespace + ".svc", nil
}

// ready makes the first session. What waiting may cure it waits for, as long as the context lasts.
func (t *tunnel) ready(ctx context.Context) error {
	for {
		_, err := t.pick(ctx)
		if err == nil || final(err) || ctx.Err() != nil {
			return err
		}
	}
}

// dial opens a stream to the router.
func (t *tunnel) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	for {
		s, err := t.pick(ctx)
		if err == nil {
			var conn net.Conn
			if conn, err = s.open(ctx); err == nil {
				return &watched{Conn: conn, tunnel: t, session: s}, nil
			}
			if ctx.Err() == nil {
				t.retire(s)
			}
		}
		if ctx.Err() != nil || final(err) {
			return nil, transient(err)
		}
	}
}

// pick returns the session with the fewest streams, and makes one where there is none. All who wait share one making.
func (t *tunnel) pick(ctx context.Context) (*session, error) {
	if t.ctx.Err() != nil {
		return nil, errClosed
	}
	best, more := t.best()
	if !more {
		return best, nil
	}
	made := t.making.DoChan("", func() (any, error) { return t.make() })
	if best != nil {
		return best, nil // the other is for those who come later
	}
	select {
	case r := <-made:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*session), nil
	case <-ctx.Done():
		return nil, t.notReady(context.Cause(ctx))
	}
}

func (t *tunnel) notReady(cause error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.problem == nil {
		return unavailable("the tunnel to the router is not ready: %w", cause)
	}
	return unavailable("the tunnel to the router is not ready: %w: %w", cause, t.problem)
}

// best is the session to use, nil without any, and whether another should be made.
func (t *tunnel) best() (best *session, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	live := t.sessions[:0]
	for _, s := range t.sessions {
		select {
		case <-s.Lost():
			delete(t.all, s.Session)
			continue
		default:
		}
		live = append(live, s)
		if best == nil || s.Open() < best.Open() {
			best = s
		}
	}
	clear(t.sessions[len(live):])
	t.sessions = live
	return best, best == nil || len(live) < mostSessions && best.Open() >= crowded
}

// make makes one session, after a pause if the last could not be made or did not last.
func (t *tunnel) make() (*session, error) {
	t.mu.Lock()
	failures, turn := t.failures, t.turn
	t.failures++ // until it has worked
	t.turn++
	t.mu.Unlock()
	if failures > 0 {
		select {
		case <-time.After(min(firstPause<<min(failures-1, 10), lastPause)):
		case <-t.ctx.Done():
			return nil, errClosed
		}
	}
	s, err := t.forward(turn)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.problem = err
	if err != nil {
		return nil, err
	}
	if t.ctx.Err() != nil {
		_ = s.Close()
		return nil, errClosed
	}
	t.sessions = append(t.sessions, s)
	t.all[s.Session] = struct{}{}
	return s, nil
}

// forward connects to the first of the router's pods that lets it, beginning with another one each turn.
func (t *tunnel) forward(turn int) (*session, error) {
	ctx, cancel := context.WithTimeoutCause(t.ctx, makeLimit, fmt.Errorf("no port-forward within %v", makeLimit))
	defer cancel()
	pods, port, err := t.router(ctx)
	if err != nil {
		return nil, err
	}
	var refusals error
	for i := range pods {
		pod := pods[(turn+i)%len(pods)]
		s, err := portforward.Forward(ctx, t.cluster.Config, t.namespace, pod)
		if err == nil {
			return &session{s, port}, nil
		}
		err = cluster.Classify("connect", "", err)
		if final(err) {
			return nil, err
		}
		if refusals != nil {
			err = fmt.Errorf("%w; %w", refusals, err)
		}
		refusals = err
	}
	return nil, unavailable("no port-forward to the router: %w", refusals)
}

// worked ends the counting of failures.
func (t *tunnel) worked() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures = 0
}

// retire gives a session no new streams.
func (t *tunnel) retire(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.sessions, s); i >= 0 {
		t.sessions = slices.Delete(t.sessions, i, i+1)
		time.AfterFunc(retirement, func() {
			_ = s.Close() // what is still open in it has had its time
			t.mu.Lock()
			defer t.mu.Unlock()
			delete(t.all, s.Session)
		})
	}
}

func (t *tunnel) close() error {
	t.cancel()
	t.mu.Lock()
	left := t.all
	t.all, t.sessions = map[*portforward.Session]struct{}{}, nil
	t.mu.Unlock()
	for s := range left {
		_ = s.Close() // an end that is not polite is one too
	}
	return nil
}
