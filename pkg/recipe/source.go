package recipe

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// source is the text of a recipe, for places in it. Lines end where YAML says they do.
type source struct {
	text  string
	lines []int // offset of the start of each line

	// The last answer of offset: what is asked for next often stands after it in the same, possibly long, line.
	lastPos    Pos
	lastOffset int
}

func newSource(text string) *source {
	s := &source{text: text, lines: []int{0}}
	for i := 0; i < len(text); {
		n := breakAt(text, i)
		if n == 0 {
			i++
			continue
		}
		i += n
		s.lines = append(s.lines, i)
	}
	return s
}

// breakAt returns the length of the line break at text[i:], 0 if there is none.
func breakAt(text string, i int) int {
	switch text[i] {
	case '\n':
		return 1
	case '\r':
		if strings.HasPrefix(text[i:], "\r\n") {
			return 2
		}
		return 1
	case 0xC2, 0xE2:
		for _, b := range []string{"\u0085", "\u2028", "\u2029"} {
			if strings.HasPrefix(text[i:], b) {
				return len(b)
			}
		}
	}
	return 0
}

// offset is where p is in the text.
func (s *source) offset(p Pos) int {
	if p.Line < 1 || p.Line > len(s.lines) {
		return len(s.text)
	}
	at, column := s.lines[p.Line-1], 1
	if s.lastPos.Line == p.Line && s.lastPos.Column <= p.Column {
		at, column = s.lastOffset, s.lastPos.Column
	}
	for ; column < p.Column; column++ {
		_, n := utf8.DecodeRuneInString(s.text[at:])
		at += n
	}
	s.lastPos, s.lastOffset = p, at
	return at
}

// clamp is p, or the end of the text where that is before p.
func (s *source) clamp(p Pos) Pos {
	if p.Line > len(s.lines) {
		return s.pos(len(s.text))
	}
	return p
}

// pos is the place of an offset.
func (s *source) pos(offset int) Pos {
	low, high := 0, len(s.lines)
	for high-low > 1 {
		if middle := (low + high) / 2; s.lines[middle] <= offset {
			low = middle
		} else {
			high = middle
		}
	}
	return Pos{Line: low + 1, Column: utf8.RuneCountInString(s.text[s.lines[low]:offset]) + 1}
}

// within is the place of an offset in the value of a scalar. YAML keeps the visible characters of a scalar in order,
// whatever it does to the white space between them, so the place is found by counting them; escapes count as what they
// stand for.
func (s *source) within(n *yaml.Node, offset int) Pos {
	start := Pos{Line: n.Line, Column: n.Column}
	if offset > len(n.Value) {
		offset = len(n.Value)
	}
	before, blanks := 0, 0 // visible characters before offset, and white space directly before it
	for _, r := range n.Value[:offset] {
		if isBlank(r) {
			blanks++
			continue
		}
		before, blanks = before+1, 0
	}
	at := s.content(n)
	if at >= len(s.text) {
		return start
	}
	// The place is that of the character at offset; where that is white space, it is counted from the character before.
	visible := false
	if r, width := utf8.DecodeRuneInString(n.Value[offset:]); width > 0 {
		visible = !isBlank(r)
	}
	for at < len(s.text) {
		r, width := s.decode(n, at)
		if !isBlank(r) {
			if before == 0 {
				return s.pos(at)
			}
			if before == 1 && !visible {
				return s.pos(s.skipBlanks(at+width, blanks))
			}
			before--
		}
		at += width
	}
	return start
}

// skipBlanks steps over up to n blanks of the same line.
func (s *source) skipBlanks(at, n int) int {
	for ; n > 0 && at < len(s.text) && (s.text[at] == ' ' || s.text[at] == '\t'); n-- {
		at++
	}
	return at
}

// content is where the value of a scalar begins: after its anchor and tag, its quote or its block header.
func (s *source) content(n *yaml.Node) int {
	at := s.offset(Pos{Line: n.Line, Column: n.Column})
	for at < len(s.text) && (n.Anchor != "" && s.text[at] == '&' || n.Style&yaml.TaggedStyle != 0 && s.text[at] == '!') {
		for at < len(s.text) && !isBlank(rune(s.text[at])) {
			at++
		}
		for at < len(s.text) && isBlank(rune(s.text[at])) {
			at++
		}
	}
	switch {
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		for at < len(s.text) && breakAt(s.text, at) == 0 {
			at++
		}
	case n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		at++
	}
	return at
}

// decode returns the character that a scalar has from text[at:] and how many bytes it takes there.
func (s *source) decode(n *yaml.Node, at int) (rune, int) {
	rest := s.text[at:]
	switch {
	case n.Style&yaml.SingleQuotedStyle != 0 && strings.HasPrefix(rest, "''"):
		return '\'', 2
	case n.Style&yaml.DoubleQuotedStyle != 0 && rest[0] == '\\' && len(rest) > 1:
		width := map[byte]int{'x': 4, 'u': 6, 'U': 10}[rest[1]]
		if width > 0 && len(rest) >= width {
			r, _ := strconv.ParseUint(rest[2:width], 16, 32) // the parser has taken it for a number already
			return rune(r), width
		}
		if strings.IndexByte("abtnvfre0 N_LP\t\r\n", rest[1]) >= 0 {
			return escapes[rest[1]], 2
		}
		r, width := utf8.DecodeRuneInString(rest[1:])
		return r, 1 + width
	}
	return utf8.DecodeRuneInString(rest)
}

// escapes are the escapes of double-quoted scalars that do not stand for the character itself. The end of a line stands
// for nothing.
var escapes = map[byte]rune{
	'0': 0, 'a': '\a', 'b': '\b', 't': '\t', 'n': '\n', 'v': '\v', 'f': '\f', 'r': '\r', 'e': 0x1b, ' ': ' ',
	'N': 0x85, '_': 0xa0, 'L': 0x2028, 'P': 0x2029, '\t': ' ', '\r': ' ', '\n': ' ',
}

func isBlank(r rune) bool {
	return r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == 0x85 || r == 0x2028 || r == 0x2029
}

// textPlace is where a text stands in the file.
type textPlace struct {
	src  *source
	node *yaml.Node
}

// PosOf is the place of an offset in the source of an expression or template of the recipe. otherwise is that of what has
// it, for a value of several texts.
func (r *Recipe) PosOf(compiled any, offset int, otherwise Pos) Pos {
	if p, ok := r.places[compiled]; ok {
		return p.src.within(p.node, offset)
	}
	return otherwise
}
