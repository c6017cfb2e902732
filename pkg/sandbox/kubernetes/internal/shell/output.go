package shell

import (
	"fmt"
	"io"
	"math"
	"strconv"
)

// output is what is known of one stream of a command.
type output struct {
	name   string
	w      io.Writer // nil: nobody wants it
	limit  int64     // zero: none
	seen   int64     // bytes that came
	passed int64     // bytes of them for w
	over   bool      // beyond its limit
	more   bool      // the last answer was full, and brought something new
	err    error     // of w
}

// ask returns the first block wanted, and how many for an answer of so many bytes.
func (o *output) ask(size int64) (first, blocks int64) {
	if o.unwanted() {
		return 0, 0
	}
	return o.seen / block, size / 2 / block
}

// unwanted says that no more of it is needed.
func (o *output) unwanted() bool { return o.over || o.w == nil && o.limit == 0 || o.err != nil }

// size is what a poll need not tell.
func (o *output) size() int64 {
	if o.unwanted() {
		return math.MaxInt64
	}
	return o.seen
}

// take passes on what is new in a part of an answer of so many bytes. A part with a gap before it, or a longer one, is not
// the one that was asked for.
func (o *output) take(p part, size int64) {
	start := p.start
	o.more = false
	if o.unwanted() || start > o.seen || start+int64(len(p.data)) <= o.seen || int64(len(p.data)) > size/2 {
		return
	}
	o.more = int64(len(p.data)) == size/2
	b := p.data[o.seen-start:]
	o.seen += int64(len(b))
	if o.limit > 0 && o.passed+int64(len(b)) > o.limit {
		b = b[:o.limit-o.passed]
		o.over = true
	}
	o.passed += int64(len(b))
	if o.w == nil || len(b) == 0 {
		return
	}
	if _, err := o.w.Write(b); err != nil {
		o.err = fmt.Errorf("%s: %w", o.name, err)
	}
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
