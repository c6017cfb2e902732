package shell

import (
	"sync"
	"time"
)

// How long a start may take before a poll looks after its command: one that was short has been answered by then. Bounds of
// what is learned, and where that begins.
const (
	quickLeast = 150 * time.Millisecond
	quickFirst = 300 * time.Millisecond
	quickMost  = 500 * time.Millisecond
)

// quick is how long the way to the sandbox and back takes, with what a command needs there beside itself.
type quick struct {
	mu  sync.Mutex
	way time.Duration // zero: not known yet
}

// wait returns for how long a short command's answer is waited for.
func (q *quick) wait() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.way == 0 {
		return quickFirst
	}
	return min(max(4*q.way, quickLeast), quickMost)
}

// learn notes how long it took until the record of a command's end was here.
func (q *quick) learn(took time.Duration, record string) {
	e, err := parseEnd(record)
	if err != nil {
		return
	}
	took = max(took-time.Duration(e.hundredths)*10*time.Millisecond, time.Millisecond)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.way == 0 {
		q.way = took
	}
	q.way = (3*q.way + took) / 4
}
