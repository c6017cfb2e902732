// Package mask replaces secrets in what is shown or written: in a text, in one that comes in parts, in the texts of a value
// and of JSON. Which texts are to be masked, and where the secrets come from, belongs to those who use it.
package mask

import (
	"bytes"
	"slices"
	"strings"
)

// Text stands where a secret was.
const Text = "***"

// A line of a secret, and a secret in hex or base64, is masked from this many bytes on: less would hit too much that is no
// secret. The secret itself, also with escapes, is masked whatever its length.
const minPart = 4

// Mask replaces secrets: each value, its lines where it has several (a key in a file is printed line by line), and
// both as they read where programs escape or encode them, also with terminal escape sequences in between, which are
// replaced with it. A nil *Mask replaces nothing. It is safe for concurrent use.
type Mask struct {
	byFirst [256][][]byte   // patterns by their first byte, longest first
	pairs   [1 << 10]uint64 // the first two bytes of patterns, as a set: most of a text is passed with one look a byte
	longest int
}

// New returns a Mask for the values of secrets, or nil where there is nothing to replace.
func New(secrets ...map[string]string) *Mask {
	seen := map[string]bool{}
	add := func(s string, least int) {
		if len(s) >= least {
			seen[s] = true
		}
	}
	for _, values := range secrets {
		for _, value := range values {
			parts := []string{value, strings.TrimSpace(value)}
			for line := range strings.Lines(value) {
				if line = strings.TrimSpace(line); len(line) >= minPart {
					parts = append(parts, line)
				}
			}
			for _, part := range parts {
				add(part, 1)
				for _, e := range escaped(part) {
					add(e, 1)
				}
				for _, e := range encoded(part) {
					add(e, minPart)
				}
			}
		}
	}
	if len(seen) == 0 {
		return nil
	}
	m := &Mask{}
	for s := range seen {
		m.add([]byte(s))
	}
	for _, list := range m.byFirst {
		slices.SortFunc(list, func(a, b []byte) int { return len(b) - len(a) })
	}
	return m
}

func (m *Mask) add(p []byte) {
	m.longest = max(m.longest, len(p))
	m.byFirst[p[0]] = append(m.byFirst[p[0]], p)
	if len(p) > 1 {
		m.addPair(p[0], p[1])
		return
	}
	for second := range 256 {
		m.addPair(p[0], byte(second))
	}
}

func (m *Mask) addPair(a, b byte) {
	pair := uint(a)<<8 | uint(b)
	m.pairs[pair>>6] |= 1 << (pair & 63)
}

func (m *Mask) hasPair(a, b byte) bool {
	pair := uint(a)<<8 | uint(b)
	return m.pairs[pair>>6]&(1<<(pair&63)) != 0
}

// Text returns s with every secret replaced.
func (m *Mask) Text(s string) string {
	if m == nil || s == "" {
		return s
	}
	if out, changed := m.all([]byte(s)); changed {
		return string(out)
	}
	return s
}

// Bytes returns b with every secret replaced: b itself where there is none.
func (m *Mask) Bytes(b []byte) []byte {
	if m == nil {
		return b
	}
	out, _ := m.all(b)
	return out
}

func (m *Mask) all(b []byte) (masked []byte, changed bool) {
	if start, _ := m.find(b, 0, len(b)); start < 0 {
		return b, false
	}
	m.replace(b, true, func(part []byte) { masked = append(masked, part...) })
	return masked, true
}

// replace hands buf to emit with every secret replaced, and returns what it keeps back because a secret may begin in
// it; with final that is nothing. Of secrets that overlap the one that begins first is replaced, of those the longest.
func (m *Mask) replace(buf []byte, final bool, emit func([]byte)) (keep []byte) {
	hold := len(buf)
	if !final {
		hold = m.beginning(buf)
	}
	at := 0
	for {
		start, end := m.find(buf, at, hold)
		if start < 0 {
			break
		}
		if at < start {
			emit(buf[at:start])
		}
		emit([]byte(Text))
		at = end
	}
	if at < hold {
		emit(buf[at:hold])
		at = hold
	}
	return buf[at:]
}

// find returns where the first secret that begins between from and to is in buf; -1 for nowhere.
func (m *Mask) find(buf []byte, from, to int) (start, end int) {
	for i := from; i < to; i++ {
		if i+1 < len(buf) && !m.hasPair(buf[i], buf[i+1]) {
			if buf[i+1] != esc || len(m.byFirst[buf[i]]) == 0 {
				continue
			}
			n, _ := sequences(buf[i+1:])
			if next := i + 1 + n; n == 0 || next == len(buf) || !m.hasPair(buf[i], buf[next]) {
				continue
			}
		}
		for _, p := range m.byFirst[buf[i]] {
			if bytes.HasPrefix(buf[i:], p) {
				return i, i + len(p)
			}
			if bytes.IndexByte(buf[i:min(len(buf), i+len(p))], esc) < 0 {
				continue
			}
			if n, _ := match(buf[i:], p); n > 0 {
				return i, i + n
			}
		}
	}
	return -1, -1
}

// beginning returns the first place in buf from which on all of buf may be the beginning of a secret.
func (m *Mask) beginning(buf []byte) int {
	from := max(0, len(buf)-m.longest-maxSkipped+1)
	escaped := bytes.IndexByte(buf[from:], esc) >= 0
	if !escaped {
		from = max(0, len(buf)-m.longest+1)
	}
	for i := from; i < len(buf); i++ {
		for _, p := range m.byFirst[buf[i]] {
			if len(p) > len(buf)-i && bytes.HasPrefix(p, buf[i:]) {
				return i
			}
			if !escaped {
				continue
			}
			if _, more := match(buf[i:], p); more {
				return i
			}
		}
	}
	return len(buf)
}
