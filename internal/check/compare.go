package check

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// mismatch tells how two texts differ.
type mismatch struct {
	text string // where, and what is there
	diff string
}

// place is where two texts part: the offset, and the line (from 1) with its own offset.
type place struct {
	offset, lineStart int64
	line              int
}

// compare returns nil if want and got are the same bytes. It holds two chunks, and parts of both to show.
func (c *checker) compare(want, got Source) (*mismatch, error) {
	p, equal, err := c.part(want, got)
	if err != nil || equal {
		return nil, err
	}
	return c.explain(want, got, p)
}

// part finds the first difference.
func (c *checker) part(want, got Source) (p place, equal bool, err error) {
	w, err := open(c.ctx, want)
	if err != nil {
		return p, false, err
	}
	defer w.Close()
	g, err := open(c.ctx, got)
	if err != nil {
		return p, false, err
	}
	defer g.Close()
	p.line = 1
	bw, bg := make([]byte, chunk), make([]byte, chunk)
	for {
		nw, err := readFull(w, bw)
		if err != nil {
			return p, false, err
		}
		ng, err := readFull(g, bg)
		if err != nil {
			return p, false, err
		}
		same := nw
		if equal := nw == ng && bytes.Equal(bw[:nw], bg[:ng]); !equal {
			same = samePrefix(bw[:nw], bg[:ng])
		}
		p.line += bytes.Count(bw[:same], []byte{'\n'})
		if i := bytes.LastIndexByte(bw[:same], '\n'); i >= 0 {
			p.lineStart = p.offset + int64(i) + 1
		}
		p.offset += int64(same)
		if same < nw || same < ng {
			return p, false, nil
		}
		if nw < chunk {
			return p, true, nil
		}
	}
}

// readFull fills b unless the text ends before.
func readFull(r io.Reader, b []byte) (int, error) {
	n, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, err
}

func samePrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

const (
	diffWhole = 256 << 10 // texts up to this size are shown as a diff of the whole
	diffPart  = 32 << 10  // of longer ones this much is, from shortly before the first difference
)

// explain shows the difference at p: hex for bytes, a unified diff for texts, of the whole where both are short.
func (c *checker) explain(want, got Source, p place) (*mismatch, error) {
	from, length := int64(0), diffWhole
	if max(want.Size(), got.Size()) > diffWhole {
		from, length = max(0, p.offset-diffPart/2), diffPart
	}
	w, err := window(c.ctx, want, from, length+1)
	if err != nil {
		return nil, err
	}
	g, err := window(c.ctx, got, from, length+1)
	if err != nil {
		return nil, err
	}
	cut := [2]bool{len(w) > length, len(g) > length}
	at := int(p.offset - from)
	if isBinary(w, from > 0, cut[0]) || isBinary(g, from > 0, cut[1]) {
		return &mismatch{
			text: fmt.Sprintf("want %s, got %s, first difference at byte %d (0x%x)", size(want.Size()), size(got.Size()), p.offset, p.offset),
			diff: hexDiff(w, g, from, at),
		}, nil
	}
	text := fmt.Sprintf("the first difference is in line %d, column %d: want %s, got %s",
		p.line, column(w, max(0, int(p.lineStart-from)), at), quoteFrom(w, at), quoteFrom(g, at))
	if from > 0 || cut[0] || cut[1] {
		start, line := contextStart(w[:at], p.line)
		return &mismatch{text, unifiedPart(wholeLines(w[start:], cut[0]), wholeLines(g[start:], cut[1]), line)}, nil
	}
	return &mismatch{text + hint(w, g), unified(w, g)}, nil
}

// column counts the characters from the line's start to the one that holds the byte at at, from 1.
func column(b []byte, lineStart, at int) int {
	for at > lineStart && at < len(b) && !utf8.RuneStart(b[at]) {
		at--
	}
	return 1 + utf8.RuneCount(b[lineStart:at])
}

// wholeLines removes the last line if it was cut.
func wholeLines(b []byte, cut bool) []byte {
	if i := bytes.LastIndexByte(b, '\n'); cut && i >= 0 {
		return b[:i+1]
	}
	return b
}

// contextStart returns where the three lines before the last begin in text, and the number of the first of them.
func contextStart(text []byte, line int) (start, first int) {
	end := len(text)
	for range 4 {
		i := bytes.LastIndexByte(text[:end], '\n')
		if i < 0 {
			break
		}
		start, end = i+1, i
	}
	if start == 0 { // a line longer than what is shown: begin with a whole character
		for start < len(text) && !utf8.RuneStart(text[start]) {
			start++
		}
	}
	return start, line - bytes.Count(text[start:], []byte{'\n'})
}

// isBinary says whether b is no text: it holds a NUL or is not UTF-8. Characters cut at an end do not count.
func isBinary(b []byte, cutStart, cutEnd bool) bool {
	for i := 0; cutStart && i < utf8.UTFMax-1 && len(b) > 0 && !utf8.RuneStart(b[0]); i++ {
		b = b[1:]
	}
	if cutEnd {
		for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
			if last := b[len(b)-i:]; utf8.RuneStart(last[0]) {
				if !utf8.FullRune(last) {
					b = b[:len(b)-i]
				}
				break
			}
		}
	}
	return bytes.IndexByte(b, 0) >= 0 || !utf8.Valid(b)
}

// withoutFinalNewlines is a Source without the newlines at its end.
type withoutFinalNewlines struct{ Source }

func (s withoutFinalNewlines) Open() (io.ReadCloser, error) {
	r, err := s.Source.Open()
	if err != nil {
		return nil, err
	}
	return &newlineTrimmer{r: r}, nil
}

// newlineTrimmer holds newlines back until something follows them.
type newlineTrimmer struct {
	r    io.ReadCloser
	held int64 // newlines read and not given
	rest []byte
	buf  []byte
	err  error
}

func (t *newlineTrimmer) Close() error { return t.r.Close() }

func (t *newlineTrimmer) Read(p []byte) (int, error) {
	for len(t.rest) == 0 {
		if t.err != nil {
			return 0, t.err
		}
		if t.buf == nil {
			t.buf = make([]byte, chunk)
		}
		var n int
		n, t.err = t.r.Read(t.buf)
		t.rest = t.buf[:n]
		if trimmed := bytes.TrimRight(t.rest, "\n"); len(trimmed) == 0 {
			t.held += int64(n)
			t.rest = nil
		}
	}
	if t.held > 0 {
		n := int(min(t.held, int64(len(p))))
		for i := range n {
			p[i] = '\n'
		}
		t.held -= int64(n)
		return n, nil
	}
	trimmed := bytes.TrimRight(t.rest, "\n")
	n := copy(p, trimmed)
	t.rest = t.rest[n:]
	if n == len(trimmed) {
		t.held = int64(len(t.rest))
		t.rest = nil
	}
	return n, nil
}
