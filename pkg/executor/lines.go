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
	found chan struct{}

	mu      sync.Mutex
	matched bool
	streams []*begunLine
}

// begunLine is the line of a stream that has no end yet.
type begunLine struct {
	text    []byte
	skip    bool // until the next newline: it was looked at
	written bool // since the last glance
}

// stream returns what is to see every byte of one stream, in order.
func (m *lineMatch) stream() func([]byte) {
	line := &begunLine{}
	m.streams = append(m.streams, line)
	return func(p []byte) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for len(p) > 0 && !m.matched {
			chunk, rest, ended := bytes.Cut(p, []byte("\n"))
			p = rest
			if !line.skip {
				line.text = append(line.text, chunk[:min(len(chunk), maxLine-len(line.text))]...)
				line.written = true
				if ended || len(line.text) == maxLine {
					m.look(line.text)
					line.text, line.skip = line.text[:0], true
				}
			}
			if ended {
				line.skip = false
			}
		}
	}
}

// glance looks at lines that have no end, as a prompt has none: those that nothing was added to since the last glance, or
// as they are where the streams have ended.
func (m *lineMatch) glance(ended bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, line := range m.streams {
		if len(line.text) > 0 && (ended || !line.written) {
			m.look(line.text)
		}
		line.written = false
	}
}

func (m *lineMatch) look(line []byte) {
	if !m.matched && m.re.Match(bytes.TrimSuffix(line, []byte("\r"))) {
		m.matched = true
		close(m.found)
	}
}
