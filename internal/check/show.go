package check

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/aymanbagabas/go-udiff"
)

const (
	briefBytes    = 160 // of a text quoted in a message
	diffLines     = 200 // of a diff
	diffLineBytes = 400 // of a line of a diff
)

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// size writes a number of bytes.
func size(n int64) string {
	switch {
	case n == 1:
		return "1 byte"
	case n < 10<<10:
		return strconv.FormatInt(n, 10) + " bytes"
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	default:
		return fmt.Sprintf("%d MiB", n>>20)
	}
}

// brief quotes the beginning of b.
func brief(b []byte) string {
	if len(b) <= briefBytes {
		return quote(b)
	}
	return quote(cutRune(b[:briefBytes])) + "..."
}

// cutRune removes an incomplete character from the end of b.
func cutRune(b []byte) []byte {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if last := b[len(b)-i:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}

func quote(b []byte) string { return strconv.Quote(string(b)) }

// quoteFrom quotes the rest of the line at an offset, from the beginning of the character there.
func quoteFrom(b []byte, at int) string {
	for at > 0 && at < len(b) && !utf8.RuneStart(b[at]) {
		at--
	}
	rest := b[min(at, len(b)):]
	if len(rest) == 0 {
		return "the end"
	}
	const most = 60
	if i := bytes.IndexByte(rest, '\n'); i >= 0 {
		rest = rest[:i+1]
	}
	if len(rest) > most {
		return quote(cutRune(rest[:most])) + "..."
	}
	return quote(rest)
}

// unified is the unified diff of two texts.
func unified(want, got []byte) string { return printDiff(diff(want, got)) }

// unifiedPart is the unified diff of parts of two long texts, whose first line has the given number.
func unifiedPart(want, got []byte, line int) string {
	u := diff(want, got)
	// The parts end at different places, which is a difference at their end that the texts need not have.
	if len(u.Hunks) > 1 {
		u.Hunks = u.Hunks[:len(u.Hunks)-1]
	}
	for _, h := range u.Hunks {
		h.FromLine += line - 1
		h.ToLine += line - 1
	}
	return printDiff(u) + "... the texts are long: this is around the first difference\n"
}

func diff(want, got []byte) udiff.UnifiedDiff {
	w, g := string(want), string(got)
	u, err := udiff.ToUnifiedDiff("want", "got", w, udiff.Lines(w, g), udiff.DefaultContextLines)
	if err != nil {
		panic(err) // edits that udiff made itself are consistent
	}
	return u
}

// printDiff writes a diff, bounded and without what a terminal would obey.
func printDiff(u udiff.UnifiedDiff) string {
	lines := strings.SplitAfter(u.String(), "\n")
	var b strings.Builder
	for i, l := range lines {
		if i == diffLines {
			fmt.Fprintf(&b, "... %d more lines of the diff are not shown\n", len(lines)-1-i)
			return b.String()
		}
		b.WriteString(visible(shorten(l)))
	}
	return b.String()
}

// shorten cuts a long line in the middle.
func shorten(l string) string {
	if len(l) <= diffLineBytes {
		return l
	}
	head := string(cutRune([]byte(l[:diffLineBytes/2])))
	tail := l[len(l)-diffLineBytes/4:]
	for !utf8.RuneStart(tail[0]) && len(tail) > 1 {
		tail = tail[1:]
	}
	return fmt.Sprintf("%s ...(%d bytes)... %s", head, len(l)-len(head)-len(tail), tail)
}

// visible makes characters that a terminal would obey or hide into ones that it shows.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < 0x20:
			return '\u2400' + r // SYMBOL FOR NULL and so on
		case r == 0x7f:
			return '\u2421' // SYMBOL FOR DELETE
		case unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r):
			return utf8.RuneError
		}
		return r
	}, s)
}

// hexDiff shows both sides around at, an offset in want and got, which themselves begin at from.
func hexDiff(want, got []byte, from int64, at int) string {
	const row = 16
	start := max(0, at-at%row-row)
	var b strings.Builder
	for side, text := range [][]byte{want, got} {
		fmt.Fprintf(&b, "%s\n", []string{"--- want", "+++ got"}[side])
		for i := start; i < min(len(text), start+3*row); i += row {
			part := text[i:min(len(text), i+row)]
			fmt.Fprintf(&b, "%c %08x  %-48s |%s|\n", "-+"[side], from+int64(i), spaced(part), ascii(part))
		}
		if len(text) <= start {
			fmt.Fprintf(&b, "%c %08x  the end\n", "-+"[side], from+int64(len(text)))
		}
	}
	return b.String()
}

func spaced(b []byte) string {
	var s strings.Builder
	for i := range b {
		s.WriteString(hex.EncodeToString(b[i : i+1]))
		s.WriteByte(' ')
	}
	return strings.TrimRight(s.String(), " ")
}

func ascii(b []byte) string {
	s := bytes.Clone(b)
	for i, c := range s {
		if c < 0x20 || c > 0x7e {
			s[i] = '.'
		}
	}
	return string(s)
}

// hint names a difference that a diff hides, and what to do about it.
func hint(want, got []byte) string {
	switch {
	case bytes.Equal(unixLines(append(want, '\n')), unixLines(append(got, '\n'))): // equals took a last newline away
		return " (only line ends differ, CRLF and LF: `normalize: [crlf]` evens that out)"
	case bytes.Equal(stripANSI(want), stripANSI(got)):
		return " (only escape sequences differ: `normalize: [ansi]` evens that out)"
	case bytes.Equal(bytes.TrimSpace(want), bytes.TrimSpace(got)):
		return " (only white space at the beginning or end differs: `normalize: [trim]` evens that out)"
	case bytes.Equal(bytes.Join(bytes.Fields(want), nil), bytes.Join(bytes.Fields(got), nil)):
		return " (only white space differs)"
	}
	return ""
}
