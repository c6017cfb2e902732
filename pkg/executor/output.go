package executor

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/sbxrun/sbxrun/internal/mask"
	"github.com/sbxrun/sbxrun/pkg/event"
)

// shown is how many bytes of the head, and of the tail, of a stream are kept for people.
const shown = 4 << 10

// output is one stream of one try of a step: masked, written to a log file that is made at the first byte, and summed
// up. Its memory does not grow with the stream. Only one goroutine writes to it at a time.
type output struct {
	log    logFile
	mask   mask.Stream
	watch  func([]byte) // sees every byte before it is masked; nil: nobody
	raw    int64        // bytes as they came
	sum    hash.Hash    // nil: nothing was written
	stream event.Stream
	head   []byte
	tail   []byte // a ring, once it is full
	file   *os.File
	err    error
}

// Write never fails, since a command must not fail for the host's disk: close tells the error.
func (o *output) Write(p []byte) (int, error) {
	o.raw += int64(len(p))
	if o.watch != nil {
		o.watch(p)
	}
	o.mask.Write(p, o.put)
	return len(p), nil
}

func (o *output) put(p []byte) {
	if o.err != nil || len(p) == 0 {
		return
	}
	if o.sum == nil {
		if o.file, o.stream.Path, o.err = o.log.create(); o.err != nil {
			return
		}
		o.sum = sha256.New()
	}
	if _, err := o.file.Write(p); err != nil {
		o.err = fmt.Errorf("write log: %w", err)
		return
	}
	o.sum.Write(p)
	if n := min(len(p), shown-len(o.head)); n > 0 {
		o.head = append(o.head, p[:n]...)
		o.stream.Size += int64(n)
		p = p[n:]
	}
	if len(p) > shown {
		o.stream.Size += int64(len(p) - shown)
		p = p[len(p)-shown:]
	}
	for len(p) > 0 {
		at := int((o.stream.Size - shown) % shown)
		n := min(len(p), shown-at)
		if len(o.tail) < shown && at == len(o.tail) {
			o.tail = append(o.tail, p[:n]...)
		} else {
			if len(o.tail) < shown { // a large write began in the middle of the ring
				o.tail = append(o.tail, make([]byte, shown-len(o.tail))...)
			}
			copy(o.tail[at:], p[:n])
		}
		o.stream.Size += int64(n)
		p = p[n:]
	}
}

// close writes what is held back, closes the file and returns what is known of the stream. One that has reached limit,
// in bytes as they came, is marked as cut.
func (o *output) close(limit int64) (event.Stream, error) {
	cut := o.raw >= limit
	if cut {
		o.mask.Cut(o.put)
	} else {
		o.mask.Close(o.put)
	}
	if o.file != nil {
		if err := o.file.Close(); err != nil && o.err == nil {
			o.err = fmt.Errorf("write log: %w", err)
		}
		o.file = nil
	}
	s := o.stream
	s.Cut = cut
	if o.sum != nil {
		s.SHA256 = hex.EncodeToString(o.sum.Sum(nil))
	}
	s.Head, s.Tail = o.ends()
	return s, o.err
}

// ends returns head and tail as text. Where they meet they are cut between characters: a character that the border
// would split is whole in the head, or left out where bytes are missing between the two.
func (o *output) ends() (head, tail string) {
	h, t := o.head, o.tail
	if beyond := o.stream.Size - shown; beyond > shown {
		at := int(beyond % shown)
		t = append(append(make([]byte, 0, shown), t[at:]...), t[:at]...)
		h = h[:wholeRunes(h)]
		for i := 0; i < utf8.UTFMax-1 && len(t) > 0 && !utf8.RuneStart(t[0]); i++ {
			t = t[1:]
		}
	} else if n := len(h) - wholeRunes(h); n > 0 && len(t) > 0 {
		t = append(append(make([]byte, 0, n+len(t)), h[len(h)-n:]...), t...)
		h = h[:len(h)-n]
	}
	return validText(h), validText(t)
}

// wholeRunes returns the length of b without the beginning of a character at its end.
func wholeRunes(b []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return len(b) - i
			}
			break
		}
	}
	return len(b)
}

func validText(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }
