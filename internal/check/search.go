package check

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"regexp/syntax"
	"unicode/utf8"
)

// chunk is how much of a stream is held at a time.
const chunk = 64 << 10

// find returns where needle begins in src, and in which line, or -1. It holds a chunk and the needle's length.
func (c *checker) find(src Source, needle []byte) (at int64, line int, err error) {
	r, err := open(c.ctx, src)
	if err != nil {
		return -1, 0, err
	}
	defer r.Close()
	buf := make([]byte, 0, chunk+2*len(needle))
	var base int64 // offset of buf[0]
	line = 1
	for {
		n, err := io.ReadFull(r, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if i := bytes.Index(buf, needle); i >= 0 {
			return base + int64(i), line + bytes.Count(buf[:i], []byte{'\n'}), nil
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return -1, 0, nil
		case err != nil:
			return -1, 0, err
		}
		// The needle may begin in the last bytes.
		done := len(buf) - max(len(needle)-1, 0)
		line += bytes.Count(buf[:done], []byte{'\n'})
		base += int64(done)
		buf = buf[:copy(buf, buf[done:])]
	}
}

// brisk is up to which product of a text's length and a pattern's it is searched in memory, which cannot be interrupted.
const brisk = 1 << 23

// steps is about how many instructions of re a character may take.
func steps(re *regexp.Regexp) int64 {
	tree, err := syntax.Parse(re.String(), syntax.Perl)
	if err != nil {
		return math.MaxInt32
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return math.MaxInt32
	}
	return int64(len(prog.Inst))
}

// search returns where the first match of re begins in src, or -1. What is little work is searched in memory, which is
// several times faster; else the search is made as src is read, and ends with the context.
func (c *checker) search(src Source, re *regexp.Regexp) (at int64, err error) {
	if n := src.Size(); n <= heavy && n*steps(re) <= brisk {
		b, err := load(c.ctx, src)
		if err != nil {
			return -1, err
		}
		if loc := re.FindIndex(b); loc != nil {
			return int64(loc[0]), nil
		}
		return -1, nil
	}
	r, err := open(c.ctx, src)
	if err != nil {
		return -1, err
	}
	defer r.Close()
	runes := &runeReader{r: bufio.NewReaderSize(r, chunk), ctx: c.ctx}
	loc := re.FindReaderIndex(runes)
	if runes.err != nil {
		return -1, runes.err
	}
	if loc != nil {
		return int64(loc[0]), nil
	}
	return -1, nil
}

// often is how many characters are read between two looks at the context.
const often = 1 << 8

// runeReader ends with its context, and keeps the error that regexp takes for the end of the text.
type runeReader struct {
	r   *bufio.Reader
	ctx context.Context
	n   int
	err error
}

func (r *runeReader) ReadRune() (rune, int, error) {
	if r.n++; r.n%often == 0 && r.ctx.Err() != nil {
		r.err = context.Cause(r.ctx)
		return 0, 0, r.err
	}
	c, n, err := r.r.ReadRune()
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return c, n, err
}

// byteRunes reads b as regexp does, and ends with its context.
type byteRunes struct {
	ctx context.Context
	b   []byte
	n   int
	err error
}

func (r *byteRunes) ReadRune() (rune, int, error) {
	if r.n++; r.n%often == 0 && r.ctx.Err() != nil {
		r.err = context.Cause(r.ctx)
	}
	if r.err != nil {
		return 0, 0, r.err
	}
	if len(r.b) == 0 {
		return 0, 0, io.EOF
	}
	c, n := utf8.DecodeRune(r.b)
	r.b = r.b[n:]
	return c, n, nil
}

// came says what came instead: the size, and how it begins.
func (c *checker) came(src Source) string {
	n := src.Size()
	if n == 0 {
		return "it is empty"
	}
	b, err := window(c.ctx, src, 0, briefBytes+1)
	if err != nil {
		return size(n) + " came" // whoever reads it in earnest reports the error
	}
	if int64(len(b)) == n && n <= briefBytes {
		return "it is " + brief(b)
	}
	return fmt.Sprintf("it is %s, beginning with %s", size(n), brief(b))
}

// around quotes the text from just before an offset.
func (c *checker) around(src Source, at int64) string {
	from := max(0, at-briefBytes/4)
	b, err := window(c.ctx, src, from, briefBytes)
	if err != nil {
		return ""
	}
	// Begin with the line, if its beginning is in sight.
	before := int(at - from)
	if i := bytes.LastIndexByte(b[:min(before, len(b))], '\n'); i >= 0 {
		b = b[i+1:]
		before -= i + 1
	}
	if i := bytes.IndexByte(b[min(before, len(b)):], '\n'); i > 0 {
		b = b[:before+i]
	}
	return ": " + brief(b)
}
