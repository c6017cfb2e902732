package report

import (
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// maxSequence bounds an escape sequence. What is longer is text that someone wants to hide.
const maxSequence = 1024

// terminalText is text of a sandbox as a terminal may show it: whole escape sequences are gone, newlines and tabs are
// kept, and every other control character, what orders text from right to left, and what is not UTF-8 is shown as a
// picture or as U+FFFD. CR LF is a newline.
func terminalText(s string) string {
	return clean(s, func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < 0x20:
			return 0x2400 + r // the control pictures
		case r == 0x7f:
			return 0x2421
		case 0x80 <= r && r < 0xa0, isBidi(r), r == 0x2028, r == 0x2029, 0xfff9 <= r && r <= 0xfffb, 0xe0000 <= r && r <= 0xe007f:
			return utf8.RuneError
		}
		return r
	})
}

// terminalLine is terminalText in one line.
func terminalLine(s string) string {
	return strings.Join(strings.Fields(terminalText(s)), " ")
}

// xmlText is text of a sandbox for XML: without escape sequences, with U+FFFD for the characters that XML 1.0 forbids and
// for those that a terminal takes for orders.
func xmlText(s string) string {
	return clean(s, func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return r
		case r < 0x20, 0x7f <= r && r < 0xa0, isBidi(r), r == 0xfffe, r == 0xffff:
			return utf8.RuneError
		}
		return r
	})
}

// isBidi tells the characters that change the direction of the text around them.
func isBidi(r rune) bool {
	return r == 0x061c || r == 0x200e || r == 0x200f || 0x202a <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069
}

// clean drops escape sequences and maps the other characters.
func clean(s string, replace func(rune) rune) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		if s[i] == ansi.ESC {
			if n := sequence(s[i:min(len(s), i+maxSequence)]); n > 0 {
				i += n
				continue
			}
		}
		if strings.HasPrefix(s[i:], "\r\n") {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		b.WriteRune(replace(r))
		i += n
	}
	return b.String()
}

// isPlain says whether there is nothing to replace for anyone, which most texts are.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 0x20 && c != '\n' && c != '\t') || c >= 0x7f {
			return false
		}
	}
	return true
}

// sequence is the length of the escape sequence that s begins with, 0 where it has no end in its line: a terminal would
// swallow text after such a one, and a reader of the report must see it. What is one here is one in internal/mask, lest a
// secret come together when it goes.
func sequence(s string) int {
	seq, _, n, state := ansi.DecodeSequence(s, ansi.NormalState, nil)
	if state != ansi.NormalState || n < 2 || strings.Contains(seq, "\n") {
		return 0
	}
	last := seq[n-1]
	switch seq[1] {
	case '[':
		if n == 2 || last < '@' || last > '~' {
			return 0
		}
	case 'P', 'X', '^', '_', ']':
		if !strings.HasSuffix(seq, "\x1b\\") && !(seq[1] == ']' && last == ansi.BEL) {
			return 0
		}
	default:
		if last < '0' || last > '~' || strings.Trim(seq[1:n-1], " !\"#$%&'()*+,-./") != "" {
			return 0
		}
	}
	return n
}

// cutMiddle keeps at most about size bytes of s, from both ends, and says so in a line of its own.
func cutMiddle(s string, size int) string {
	if len(s) <= size {
		return s
	}
	head, tail := size/2, len(s)-size/2
	for head > 0 && !utf8.RuneStart(s[head]) {
		head--
	}
	for tail < len(s) && !utf8.RuneStart(s[tail]) {
		tail++
	}
	return s[:head] + "\n[... cut ...]\n" + s[tail:]
}

// cutEnd keeps at most size bytes of s.
func cutEnd(s string, size int) string {
	if len(s) <= size {
		return s
	}
	for size > 0 && !utf8.RuneStart(s[size]) {
		size--
	}
	return s[:size] + "..."
}

// firstLine is the first line of s that says something.
func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return strings.TrimRight(line, "\r ")
}
