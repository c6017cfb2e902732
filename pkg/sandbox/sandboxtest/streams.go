package sandboxtest

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// lines is a stdout that can be waited on.
type lines struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	want map[string]chan struct{}
}

func newLines() *lines { return &lines{want: map[string]chan struct{}{}} }

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(b)
	for line, seen := range l.want {
		if l.has(line) {
			close(seen)
			delete(l.want, line)
		}
	}
	return len(b), nil
}

func (l *lines) has(line string) bool { return strings.Contains("\n"+l.buf.String(), "\n"+line+"\n") }

func (l *lines) seen(line string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := make(chan struct{})
	if l.has(line) {
		close(seen)
	} else {
		l.want[line] = seen
	}
	return seen
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// noise is size bytes that no two files share, with the digest of what was read.
type noise struct {
	io.Reader
	hash.Hash
}

func newNoise(size int64) *noise {
	n := &noise{Hash: sha256.New()}
	n.Reader = io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{byte(size), byte(size >> 8), byte(size >> 16)}), size), n.Hash)
	return n
}

// counter is an output that is counted and digested, not kept.
type counter struct {
	hash.Hash
	n int64
}

func newCounter() *counter { return &counter{Hash: sha256.New()} }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return c.Hash.Write(b)
}

// endless is a stream of zeros that ends with an error once it is closed.
type endless struct {
	closed atomic.Bool
	read   atomic.Int64
	pace   time.Duration // waited before each read
}

func (e *endless) Read(b []byte) (int, error) {
	time.Sleep(e.pace)
	if e.closed.Load() {
		return 0, io.ErrClosedPipe
	}
	clear(b)
	e.read.Add(int64(len(b)))
	return len(b), nil
}

// flat checks that f does not hold on to what it streams: the live heap of this process may grow by 24 MiB, less than half of
// the smallest stream it is used with.
func (s *suite) flat(t *testing.T, f func()) {
	t.Helper()
	if s.cfg.InProcess {
		f()
		return
	}
	const most = 32 << 20
	heap := func() int64 {
		runtime.GC()
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	before := heap()
	stop, peak := make(chan struct{}), make(chan int64)
	go func() {
		highest := before
		for {
			select {
			case <-stop:
				peak <- highest
				return
			case <-time.After(50 * time.Millisecond):
				highest = max(highest, heap())
			}
		}
	}()
	f()
	close(stop)
	if grown := <-peak - before; grown > most {
		t.Errorf("memory grew by %d MiB while streaming, want at most %d", grown>>20, most>>20)
	}
}
