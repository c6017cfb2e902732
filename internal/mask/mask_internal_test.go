package mask

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// secret is a Mask of one value.
func secret(value string) *Mask { return New(map[string]string{"S": value}) }

// parts masks text as it comes in parts of a size.
func parts(m *Mask, text string, size int) string {
	var got bytes.Buffer
	s := Stream{Mask: m}
	put := func(b []byte) { got.Write(b) }
	for rest := []byte(text); len(rest) > 0; {
		n := min(size, len(rest))
		s.Write(bytes.Clone(rest[:n]), put)
		rest = rest[n:]
	}
	s.Close(put)
	return got.String()
}

// However a stream is cut into writes, the same comes out.
func TestAcrossWrites(t *testing.T) {
	m := New(map[string]string{"A": "secret", "B": "secretary"}, map[string]string{"C": "ret ro", "D": "aab", "E": "Z"})
	tests := []struct{ in, want string }{
		{"a secret here", "a *** here"},
		{"a secretary here", "a *** here"},
		{"a secreta", "a ***a"},
		{"secre", "secre"},
		{"secret room", "*** room"},
		{"aaab aabaab", "a*** ******"},
		{"ret r", "ret r"},
		{"fooZ", "foo***"},
		{"Z", "***"},
		{strings.Repeat("secret\n", 1000), strings.Repeat("***\n", 1000)},
		{"", ""},
	}
	for _, tt := range tests {
		for _, size := range []int{1, 2, 3, 5, 7, 1 << 20} {
			if got := parts(m, tt.in, size); got != tt.want {
				t.Errorf("%.40q in writes of %d: %.60q, want %.60q", tt.in, size, got, tt.want)
			}
		}
		if got := m.Text(tt.in); got != tt.want {
			t.Errorf("%.40q at once: %.60q", tt.in, got)
		}
		var written bytes.Buffer
		w := m.Writer(&written)
		if _, err := io.WriteString(w, tt.in); err != nil || w.Close() != nil || written.String() != tt.want {
			t.Errorf("%.40q written: %.60q, %v", tt.in, written.String(), err)
		}
		for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in)), iotest.DataErrReader(strings.NewReader(tt.in))} {
			if got, err := io.ReadAll(m.Reader(r)); err != nil || string(got) != tt.want {
				t.Errorf("%.40q read: %.60q, %v", tt.in, got, err)
			}
		}
	}
	if _, err := io.ReadAll(m.Reader(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("sec"))))); err == nil {
		t.Error("the error of what is read is lost")
	}
}

// A secret is one as well where escape sequences, which reports leave out, are within it.
func TestEscapeSequences(t *testing.T) {
	m := New(map[string]string{"A": "hunter2correct", "B": "m1x"})
	tests := []struct{ in, want string }{
		{"a hunte\x1b[0mr2correct b", "a *** b"},
		{"\x1b[31mhunter2\x1b[0mcorrect", "\x1b[31m***"},
		{"hunte\x1b[01;31m\x1b[Kr2\x1b[m\x1b[Kcorrect\n", "***\n"}, // grep --color
		{"h\x1b]8;;http://x\x1b\\unter\x1b]0;t\a2\x1bPq\a0\x1b\\corr\x1b(0e\x1bcct", "***"},
		{"h\x1b[munter2correc\x1b[m", "h\x1b[munter2correc\x1b[m"},
		{"hunte\x1b[31\nr2correct", "hunte\x1b[31\nr2correct"},
		{"hunte\x1b]0;r2correct\n\a", "hunte\x1b]0;r2correct\n\a"},
		{"hunte\x1b", "hunte\x1b"},
		{"\x1b[31m\x1b[0m1x", "\x1b[31***"},
		{"hu" + strings.Repeat("\x1b[0m", maxSkipped/4) + "nter2correct", "***"},
		{"hu" + strings.Repeat("\x1b[0m", maxSkipped/4+1) + "nter2correct", "hu" + strings.Repeat("\x1b[0m", maxSkipped/4+1) + "nter2correct"},
		{"hu\x1b]" + strings.Repeat("x", 2*maxSkipped), "hu\x1b]" + strings.Repeat("x", 2*maxSkipped)},
	}
	for _, tt := range tests {
		if got := m.Text(tt.in); got != tt.want {
			t.Errorf("%.60q at once: %.60q, want %.60q", tt.in, got, tt.want)
		}
		for _, size := range []int{1, 2, 3, 5, 7, 1000} {
			if got := parts(m, tt.in, size); got != tt.want {
				t.Errorf("%.60q in writes of %d: %.60q, want %.60q", tt.in, size, got, tt.want)
			}
		}
	}
}

// What a limit has cut may end within a secret.
func TestCut(t *testing.T) {
	for in, want := range map[string]string{"a secr": "a ***", "a secret": "a ***", "a sec": "a sec", "a": "a", "a secrets": "a ***s"} {
		var got bytes.Buffer
		s := Stream{Mask: secret("secret")}
		put := func(b []byte) { got.Write(b) }
		s.Write([]byte(in), put)
		s.Cut(put)
		if got.String() != want {
			t.Errorf("%q: %q", in, got.String())
		}
	}
}

func FuzzMask(f *testing.F) {
	f.Add("a secret", "sec", "secret", 2)
	f.Add("aaaaab", "aab", "ab", 1)
	f.Add("a\x1b[0m\x1b]m\a\x1b(0ab\x1b[", "aab", "m1", 1)
	f.Fuzz(func(t *testing.T, text, one, two string, size int) {
		m := New(map[string]string{"A": one, "B": two})
		if m == nil {
			return
		}
		if size < 1 || size > 100 {
			size = 1
		}
		got := parts(m, text, size)
		if at := m.Text(text); at != got {
			t.Errorf("in writes of %d %q, at once %q", size, got, at)
		}
		if !strings.Contains(Text, one) && one != "" && !strings.ContainsAny(one, "*") && strings.Contains(strings.ReplaceAll(got, Text, "\x00"), one) && !strings.Contains(one, "\x00") {
			t.Errorf("%q is left in %q", one, got)
		}
	})
}

// Other programs' forms of a secret, written by hand from what they print.
func TestEncodings(t *testing.T) {
	const odd = `p<a>s"s&w\o'r/d +é`
	tests := []struct{ secret, in string }{
		{`pass word/"1"`, "cGFzcyB3b3JkLyIxIg=="},
		{`pass word/"1"`, "pass+word%2F%221%22"},
		{`pass word/"1"`, `pass word/\"1\"`},
		{`pass word/"1"`, "7061737320776f72642f223122"},
		{`pass word/"1"`, "dXNlcjpwYXNzIHdvcmQvIjEi"},
		{`pass word/"1"`, "OnBhc3Mgd29yZC8iMSI"},
		{odd, odd},
		{odd, `p\u003ca\u003es\"s\u0026w\\o'r/d +é`},                     // Go's json.Marshal
		{odd, `p<a>s\"s&w\\o'r/d +é`},                                    // JSON.stringify, jq, Go's %q
		{odd, `p<a>s\"s&w\\o'r/d +\u00e9`},                               // Python's json.dumps
		{odd, `p<a>s\"s&w\\o'r\/d +\u00e9`},                              // PHP's json_encode
		{odd, `p&lt;a&gt;s"s&amp;w\o'r/d +é`},                            // text of XML
		{odd, `p&lt;a&gt;s&quot;s&amp;w\o'r/d +é`},                       // an attribute
		{odd, `p&lt;a&gt;s&quot;s&amp;w\o&#x27;r/d +é`},                  // Python's html.escape
		{odd, `p&lt;a&gt;s&quot;s&amp;w\o&apos;r/d +é`},                  // .NET's SecurityElement.Escape
		{odd, `p&lt;a&gt;s&quot;s&amp;w\o&#39;r/d +é`},                   // lodash
		{odd, `p&lt;a&gt;s&#34;s&amp;w\o&#39;r/d +é`},                    // Go's html.EscapeString
		{odd, `p%3Ca%3Es%22s%26w%5Co%27r%2Fd%20%2B%C3%A9`},               // quote(s, safe="")
		{odd, `p%3Ca%3Es%22s%26w%5Co%27r/d%20%2B%C3%A9`},                 // quote(s)
		{odd, `p%3Ca%3Es%22s%26w%5Co'r%2Fd%20%2B%C3%A9`},                 // encodeURIComponent
		{odd, `p%3Ca%3Es%22s%26w%5Co%27r%2Fd+%2B%C3%A9`},                 // a form
		{odd, `'p<a>s"s&w\o'\''r/d +é'`},                                 // bash -x
		{odd, `'p<a>s"s&w\o'"'"'r/d +é'`},                                // dash -x
		{odd, `'p<a>s"s&w\\o\'r/d +é'`},                                  // Python's repr
		{"line one <x>\nline \"two\"\n", `line one <x>\nline \"two\"\n`}, // several lines
		{"line one <x>\nline \"two\"\n", `> line \"two\"`},               // one of them
		{"\U0001F600 \x01", `\ud83d\ude00 \u0001`},
		{`a"`, `x a\" y`}, // a short one
		{"7", "a7b"},
	}
	for _, tt := range tests {
		if got := secret(tt.secret).Text(tt.in); !strings.Contains(got, Text) {
			t.Errorf("%q stays", tt.in)
		} else if rest := strings.Trim(got, "'*> x"); tt.secret == odd && rest != "" {
			t.Errorf("of %q %q stays", tt.in, rest)
		}
	}
	if New(map[string]string{"EMPTY": ""}) != nil {
		t.Error("the empty secret masks")
	}
	if got := secret("z").Text("7a eg== z"); got != "7a eg== ***" {
		t.Errorf("what may be a short secret in hex or base64 is masked: %q", got)
	}
}

// Nothing is masked without secrets.
func TestNil(t *testing.T) {
	var m *Mask
	if r := strings.NewReader("x"); m.Reader(r) != io.Reader(r) {
		t.Error("a reader is wrapped for nothing")
	}
	text := []byte(`{"a": "x"}`)
	if got := m.Text("x") + string(m.Bytes(text)) + string(m.JSON(text)) + Value(m, "y") + parts(m, "z", 1); got != `x{"a": "x"}{"a": "x"}yz` {
		t.Error(got)
	}
}

type name string

type record struct {
	Text   string
	Name   name
	Path   string `mask:"-"`
	Number int
	List   []string
	Map    map[string]any
	Next   *record
	any    string
}

func TestValue(t *testing.T) {
	in := record{
		Text: "a 417", Name: "417", Path: "logs/417", Number: 417, List: []string{"417", "b"},
		Map:  map[string]any{"417": 1, "n": 417, "f": 4.5, "list": []any{"x417", nil, uint64(14170)}},
		Next: &record{Text: "417"}, any: "417",
	}
	want := record{
		Text: "a ***", Name: "417", Path: "logs/417", Number: 417, List: []string{"***", "b"},
		Map:  map[string]any{"***": 1, "n": "***", "f": 4.5, "list": []any{"x***", nil, "***"}},
		Next: &record{Text: "***"}, any: "417",
	}
	if d := cmp.Diff(want, Value(secret("417"), in), cmp.AllowUnexported(record{})); d != "" {
		t.Error(d)
	}
	if in.Text != "a 417" || in.Next.Text != "417" || in.List[0] != "417" {
		t.Errorf("it was changed itself: %+v", in)
	}
	if got := Value[any](secret("417"), nil); got != nil {
		t.Error(got)
	}
}

func TestJSON(t *testing.T) {
	m := secret(`417"k\`)
	tests := []struct{ in, want string }{
		{`{"417\"k\\": "a 417\"k\\", "n": 417, "l": ["417\"k\\ ", "\u0034\u0031\u0037\"k\\"]}`, `{"417\"k\\": "a ***", "n": 417, "l": ["*** ", "***"]}`},
		{`"417\"k\\"`, `"***"`},
		{`"417\"k\\`, `"417\"k\\`}, // no JSON
		{`"\`, `"\`},
		{`["<417\"k\\>"]`, `["<***>"]`},
		{`{"a" : "b", "c": [1, "d"]}`, `{"a" : "b", "c": [1, "d"]}`},
		{``, ``},
	}
	for _, tt := range tests {
		if got := string(m.JSON([]byte(tt.in))); got != tt.want {
			t.Errorf("%s: %s", tt.in, got)
		}
	}
}

// The cost of a byte of output does not depend on how many forms a secret has.
func BenchmarkStream(b *testing.B) {
	var text bytes.Buffer
	for i := 0; text.Len() < 1<<20; i++ {
		fmt.Fprintf(&text, "2024-05-01T10:00:%02d level=info msg=\"request %d handled\" path=/items/%d status=200 bytes=%d\n", i%60, i, i*7, i*31)
	}
	var key strings.Builder
	for i := range 27 {
		fmt.Fprintf(&key, "MIIEpAIBAAKCAQEA%04dabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM+/%04d\n", i, i*i)
	}
	for _, s := range []struct{ name, value string }{{"token", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"}, {"odd", `p<a>s"s w\ord/&'1`}, {"key", key.String()}} {
		b.Run(s.name, func(b *testing.B) {
			b.SetBytes(int64(text.Len()))
			m := secret(s.value)
			for b.Loop() {
				if _, err := io.Copy(io.Discard, m.Reader(bytes.NewReader(text.Bytes()))); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(s.name+"/short", func(b *testing.B) {
			m := secret(s.value)
			for b.Loop() {
				m.Text("the first difference is in line 1, column 1: want \"x\", got y")
			}
		})
	}
}
