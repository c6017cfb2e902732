package mask

import (
	"bytes"
	"encoding/json"
)

// JSON returns a JSON text with every secret replaced in the texts that are values in it; keys and numbers stay.
func (m *Mask) JSON(text []byte) []byte {
	if m == nil {
		return text
	}
	var out []byte
	done := 0 // up to where text is in out
	for at := 0; at < len(text); at++ {
		if text[at] != '"' {
			continue
		}
		from := at
		for at++; at < len(text) && text[at] != '"'; at++ {
			if text[at] == '\\' {
				at++
			}
		}
		to := min(at+1, len(text))
		if key := bytes.HasPrefix(bytes.TrimLeft(text[to:], " \t\r\n"), []byte(":")); key {
			continue
		}
		var s string
		if json.Unmarshal(text[from:to], &s) != nil {
			continue
		}
		if masked := m.Text(s); masked != s {
			out = append(append(out, text[done:from]...), '"')
			out = append(append(out, jsonText(masked)...), '"')
			done = to
		}
	}
	if done == 0 {
		return text
	}
	return append(out, text[done:]...)
}
