package executor

import (
	"bytes"
	"strings"
	"testing"
)

// However a stream is cut into writes, the same comes out.
func TestMaskAcrossWrites(t *testing.T) {
	m := newMasker(map[string]string{"A": "secret", "B": "secretary", "C": "ret ro", "D": "aab"})
	tests := []struct{ in, want string }{
		{"a secret here", "a *** here"},
		{"a secretary here", "a *** here"},
		{"a secreta", "a ***a"},
		{"secre", "secre"},
		{"secret room", "*** room"},
		{"aaab aabaab", "a*** ******"},
		{"ret r", "ret r"},
		{strings.Repeat("secret\n", 1000), strings.Repeat("***\n", 1000)},
		{"", ""},
	}
	for _, tt := range tests {
		for _, size := range []int{1, 2, 3, 5, 7, 1 << 20} {
			var got bytes.Buffer
			var held []byte
			put := func(b []byte) { got.Write(b) }
			for rest := []byte(tt.in); len(rest) > 0; {
				n := min(size, len(rest))
				keep, _ := m.replace(append(held, rest[:n]...), false, put)
				held, rest = append([]byte(nil), keep...), rest[n:]
			}
			m.replace(held, true, put)
			if got.String() != tt.want {
				t.Errorf("%.40q in writes of %d: %.60q, want %.60q", tt.in, size, got.String(), tt.want)
			}
		}
		if got := m.text(tt.in); got != tt.want {
			t.Errorf("%.40q at once: %.60q", tt.in, got)
		}
	}
}

func FuzzMask(f *testing.F) {
	f.Add("a secret", "sec", "secret", 2)
	f.Add("aaaaab", "aab", "ab", 1)
	f.Fuzz(func(t *testing.T, text, one, two string, size int) {
		m := newMasker(map[string]string{"A": one, "B": two})
		if m == nil {
			return
		}
		if size < 1 || size > 100 {
			size = 1
		}
		var got bytes.Buffer
		var held []byte
		put := func(b []byte) { got.Write(b) }
		for rest := []byte(text); len(rest) > 0; {
			n := min(size, len(rest))
			keep, _ := m.replace(append(held, rest[:n]...), false, put)
			held, rest = append([]byte(nil), keep...), rest[n:]
		}
		m.replace(held, true, put)
		if at := m.text(text); at != got.String() {
			t.Errorf("in writes of %d %q, at once %q", size, got.String(), at)
		}
		if !strings.Contains(masked, one) && one != "" && !strings.ContainsAny(one, "*") && strings.Contains(strings.ReplaceAll(got.String(), masked, "\x00"), one) && !strings.Contains(one, "\x00") {
			t.Errorf("%q is left in %q", one, got.String())
		}
	})
}

func TestMaskedEncodings(t *testing.T) {
	m := newMasker(map[string]string{"A": "pass word/\"1\"", "EMPTY": ""})
	for _, in := range []string{"cGFzcyB3b3JkLyIxIg==", "pass+word%2F%221%22", `pass word/\"1\"`, "7061737320776f72642f223122", "dXNlcjpwYXNzIHdvcmQvIjEi", "OnBhc3Mgd29yZC8iMSI"} {
		if got := m.text(in); !strings.Contains(got, masked) {
			t.Errorf("%q stays", in)
		}
	}
	if newMasker(map[string]string{"EMPTY": ""}) != nil {
		t.Error("the empty secret masks")
	}
}
