package cgroup

import "time"

// MemoryWatch says when to look at memory in use, and what to make of it. A limit that the kernel enforces is a wall. This
// one can be overshot between two looks, and a peak can be missed that is over before the next.
type MemoryWatch struct {
	Limit int64         // bytes
	Least time.Duration // between two looks
	Due   time.Time     // the next look

	struck time.Time
}

// How long to wait for the next look: so long as what is left takes to fill at fastest, about what a core can write to new
// memory in a second. So what is far from its limit costs next to nothing, and what is near it is seen soon.
const (
	WatchMost  = 50 * time.Millisecond
	WatchLeast = 10 * time.Millisecond // where a look is quick
	fastest    = 4 << 30
)

// patience is how long what was killed may take to give its memory back.
const patience = time.Second

// Saw takes the bytes that were in use at a look, and says whether to kill what uses them. While it stays so it is not said
// again before a second has passed: what dies still has its memory, for which nothing that begins meanwhile is to blame.
func (w *MemoryWatch) Saw(now time.Time, used int64) (over bool) {
	left := time.Duration(float64(w.Limit-used) / fastest * float64(time.Second))
	w.Due = now.Add(min(max(left, w.Least), WatchMost))
	switch {
	case used <= w.Limit:
		w.struck = time.Time{}
	case now.Sub(w.struck) > patience:
		w.struck, over = now, true
	}
	return over
}
