package executor

import (
	"bytes"
	"regexp"
	"sync"
)

// maxLine is how much of a line is looked at.
const maxLine = 64 << 10

// lineMatch closes found once a line of any of its streams matches.
type lineMatch struct {
	re    *regexp.Regexp
	once  sync.Once
	found chan struct{}
}

// stream returns what is to see every byte of one stream, in order.
func (m *lineMatch) stream() func([]byte) {
	var line []byte // begun
	skip := false   // until the next newline
	matched := false
	look := func(l []byte) {
		if m.re.Match(bytes.TrimSuffix(l, []byte("\r"))) {
			matched = true
			line = nil
			m.once.Do(func() { close(m.found) })
		}
	}
	return func(p []byte) {
		for len(p) > 0 && !matched {
			chunk, rest, ended := bytes.Cut(p, []byte("\n"))
			p = rest
			if !skip {
				line = append(line, chunk[:min(len(chunk), maxLine-len(line))]...)
				if ended || len(line) == maxLine {
					look(line)
					line = line[:0]
					skip = true
				}
			}
			if ended {
				skip = false
			}
		}
	}
}
