package check

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// encodeJSON writes v, which decodeJSON returned, as encoding/json does, in lines where there is an indent. It stops
// soon after most bytes.
func encodeJSON(v any, indent string, most int) []byte {
	e := encoder{indent: indent, most: most}
	e.scalars = json.NewEncoder(&e.out)
	e.scalars.SetEscapeHTML(false)
	e.value(v, 0)
	return e.out.Bytes()
}

type encoder struct {
	out     bytes.Buffer
	scalars *json.Encoder // to out
	indent  string
	most    int
}

func (e *encoder) full() bool { return e.out.Len() > e.most }

func (e *encoder) value(v any, level int) {
	if e.full() {
		return
	}
	switch v := v.(type) {
	case []any:
		e.out.WriteByte('[')
		for i, element := range v {
			if e.full() {
				return
			}
			e.separate(i, level+1)
			e.value(element, level+1)
		}
		e.end(']', len(v), level)
	case map[string]any:
		e.out.WriteByte('{')
		for i, k := range sortedKeys(v, nil) {
			if e.full() {
				return
			}
			e.separate(i, level+1)
			e.text(k)
			e.out.WriteByte(':')
			if e.indent != "" {
				e.out.WriteByte(' ')
			}
			e.value(v[k], level+1)
		}
		e.end('}', len(v), level)
	case json.Number: // maybe of any length
		e.out.WriteString(e.cut(string(v)))
	case string:
		e.text(v)
	default:
		e.scalar(v)
	}
}

// separate begins element i of a list or an object.
func (e *encoder) separate(i, level int) {
	if i > 0 {
		e.out.WriteByte(',')
	}
	e.line(level)
}

// end ends a list or an object of n elements.
func (e *encoder) end(with byte, n, level int) {
	if e.full() {
		return
	}
	if n > 0 {
		e.line(level)
	}
	e.out.WriteByte(with)
}

func (e *encoder) line(level int) {
	if e.indent == "" {
		return
	}
	e.out.WriteByte('\n')
	for range level {
		e.out.WriteString(e.indent)
	}
}

func (e *encoder) text(s string) { e.scalar(e.cut(s)) }

func (e *encoder) scalar(v any) {
	_ = e.scalars.Encode(v) // what is not in decoded JSON is not here
	e.out.Truncate(e.out.Len() - 1)
}

// cut returns of s what is needed to fill e; a character that is cut is beyond that.
func (e *encoder) cut(s string) string {
	if room := max(0, e.most-e.out.Len()); len(s)-utf8.UTFMax > room {
		return s[:room+utf8.UTFMax]
	}
	return s
}
