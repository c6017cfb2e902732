package shell

import (
	"sync"
	"time"
)

// The bytes of data that one answer is asked for. Of the two streams of a command each gets half: in base64 the largest
// answer stays below MaxReply.
const (
	largestWindow  = 4 << 20
	smallestWindow = 64 << 10 // 8 blocks of each stream
	narrower       = 8        // three tries, which fit into patience, lead from the largest to the smallest
)

// window says how much an answer is asked for, so that it comes in time over a line that is slow, or shared by many: an
// answer that was too late is less the next time, and one that came at once may be more.
type window struct {
	mu sync.Mutex
	n  int64
}

func (w *window) size() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}

// learn notes that of an answer of size bytes got came, in the time it took of the limit; err where none came. Requests
// made before the last change say nothing more.
func (w *window) learn(size, got int64, took, limit time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil && took >= limit:
		w.n = min(w.n, max(size/narrower, smallestWindow))
	case err == nil && size == w.n && 2*got >= size && took < limit/8:
		w.n = min(2*size, largestWindow)
	}
}
