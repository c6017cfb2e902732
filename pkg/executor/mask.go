package executor

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// masked stands where a secret was.
const masked = "***"

// A line of a secret, and what a secret reads like in another encoding, is masked from this many bytes on: less would
// hit too much that is no secret. The secret itself is masked whatever its length.
const minMaskedPart = 4

// masker replaces secrets: each value, its lines where it has several (a key in a file is printed line by line), and
// both as they read in base64 (at any of the three alignments within a longer text), hex, a URL or a JSON string.
// A nil *masker replaces nothing. It is safe for concurrent use.
type masker struct {
	patterns [][]byte      // longest first
	byFirst  [256][][]byte // the same by their first byte
	longest  int
}

func newMasker(secrets map[string]string) *masker {
	seen := map[string]bool{}
	add := func(s string, least int) {
		if len(s) >= least {
			seen[s] = true
		}
	}
	for _, value := range secrets {
		add(value, 1)
		add(strings.TrimSpace(value), 1)
		parts := []string{value, strings.TrimSpace(value)}
		for line := range strings.Lines(value) {
			if line = strings.TrimSpace(line); len(line) >= minMaskedPart {
				add(line, minMaskedPart)
				parts = append(parts, line)
			}
		}
		for _, part := range parts {
			for _, encoded := range encodings(part) {
				add(encoded, minMaskedPart)
			}
		}
	}
	if len(seen) == 0 {
		return nil
	}
	m := &masker{}
	for s := range seen {
		m.patterns = append(m.patterns, []byte(s))
	}
	slices.SortFunc(m.patterns, func(a, b []byte) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return bytes.Compare(a, b)
	})
	m.longest = len(m.patterns[0])
	for _, p := range m.patterns {
		m.byFirst[p[0]] = append(m.byFirst[p[0]], p)
	}
	return m
}

// encodings returns what s reads like where it is written in another way.
func encodings(s string) []string {
	quoted, _ := json.Marshal(s) // text always has a JSON form
	out := []string{
		hex.EncodeToString([]byte(s)), strings.ToUpper(hex.EncodeToString([]byte(s))),
		url.QueryEscape(s), url.PathEscape(s), string(quoted[1 : len(quoted)-1]),
	}
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 {
			// Behind `shift` unknown bytes the first characters depend on those, and the last one on what follows.
			text := enc.EncodeToString(append(make([]byte, shift), s...))
			from := (shift*8 + 5) / 6
			to := len(text)
			if (shift+len(s))%3 != 0 {
				to--
			}
			if core := text[min(from, to):to]; len(core) >= 2*minMaskedPart {
				out = append(out, core)
			}
		}
		out = append(out, enc.EncodeToString([]byte(s)))
	}
	return out
}

// text returns s with every secret replaced.
func (m *masker) text(s string) string {
	if m == nil || s == "" {
		return s
	}
	var out []byte
	rest, changed := m.replace([]byte(s), true, func(b []byte) { out = append(out, b...) })
	if !changed {
		return s
	}
	return string(append(out, rest...))
}

// replace hands buf to emit with every secret replaced, and returns what it keeps back because a secret may begin in
// it; with final that is nothing.
func (m *masker) replace(buf []byte, final bool, emit func([]byte)) (keep []byte, changed bool) {
	hold := len(buf)
	if !final {
		hold = m.beginning(buf)
	}
	next := make([]int, len(m.patterns)) // where each pattern comes next: -1 for nowhere
	for i, p := range m.patterns {
		next[i] = bytes.Index(buf, p)
	}
	at := 0
	for {
		best := -1
		for i, p := range m.patterns {
			if next[i] >= 0 && next[i] < at {
				if next[i] = bytes.Index(buf[at:], p); next[i] >= 0 {
					next[i] += at
				}
			}
			if next[i] >= 0 && (best < 0 || next[i] < next[best]) {
				best = i
			}
		}
		if best < 0 || next[best] >= hold {
			break
		}
		emit(buf[at:next[best]])
		emit([]byte(masked))
		changed = true
		at = next[best] + len(m.patterns[best])
	}
	if at < hold {
		emit(buf[at:hold])
		at = hold
	}
	return buf[at:], changed
}

// beginning returns the first place in buf from which on all of buf may be the beginning of a secret.
func (m *masker) beginning(buf []byte) int {
	for i := max(0, len(buf)-m.longest+1); i < len(buf); i++ {
		for _, p := range m.byFirst[buf[i]] {
			if len(p) > len(buf)-i && bytes.HasPrefix(p, buf[i:]) {
				return i
			}
		}
	}
	return len(buf)
}
