package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTerminalText(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"plain", "a b\tc\nd", "a b\tc\nd"},
		{"unicode", "日本 é 👩‍👩‍👧", "日本 é 👩‍👩‍👧"},
		{"colour", "\x1b[1;31mred\x1b[0m", "red"},
		{"cursor and erasing", "a\x1b[2J\x1b[1;1Hb\x1b[?1049h", "ab"},
		{"title", "a\x1b]0;title\ab", "ab"},
		{"link", "\x1b]8;;http://x\x1b\\text\x1b]8;;\x1b\\", "text"},
		{"device control", "a\x1bPq#0\x1b\\b", "ab"},
		{"character set", "a\x1b(0b\x1bcc", "abc"},
		{"title without an end", "a\x1b]0;hides the rest\nof the text", "a␛]0;hides the rest\nof the text"},
		{"title over lines", "a\x1b]0;hides\nlines\ab", "a␛]0;hides\nlines␇b"},
		{"cut off", "a\x1b", "a␛"},
		{"cut off in parameters", "a\x1b[31", "a␛[31"},
		{"intermediates and more", "a\x1b([31mb", "a␛([31mb"},
		{"made by removing", "\x1b\x1b[m[31mx", "␛[31mx"},
		{"long", "\x1b]0;" + strings.Repeat("x", 2000) + "\a", "␛]0;" + strings.Repeat("x", 2000) + "␇"},
		{"controls", "\x00\a\b\x7f", "␀␇␈␡"},
		{"line ends", "a\r\nb\rc", "a\nb␍c"},
		{"C1", "\u009b31m\u0085", "\ufffd31m\ufffd"},
		{"C1 bytes", "\x9b31m\x90", "\ufffd31m\ufffd"},
		{"direction", "a\u202eb\u2066c\u200fd", "a\ufffdb\ufffdc\ufffdd"},
		{"not UTF-8", "a\xffb\xe3\x81", "a\ufffdb\ufffd\ufffd"},
		{"hidden letters", "a\U000e0041b", "a\ufffdb"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := terminalText(test.in); got != test.want {
				t.Errorf("%q becomes %q, want %q", test.in, got, test.want)
			}
		})
	}
}

func FuzzTerminalText(f *testing.F) {
	for _, s := range []string{"\x1b[31m", "\x1b]0;x\a", "\x1bP\x1b\\", "\x9b", "\u202e", "\r\n", "\x1b\x1b[m[31m", "\x1b]\xe2\x80\x9c\x1b\\"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := terminalText(s)
		for _, r := range got {
			if r < 0x20 && r != '\n' && r != '\t' || 0x7f <= r && r < 0xa0 || isBidi(r) {
				t.Errorf("%q becomes %q with %q", s, got, r)
			}
		}
		if !utf8.ValidString(got) {
			t.Errorf("%q becomes %q, which is not UTF-8", s, got)
		}
		if again := terminalText(got); again != got {
			t.Errorf("%q becomes %q, and that %q", s, got, again)
		}
		if line := terminalLine(s); strings.ContainsAny(line, "\n\t") {
			t.Errorf("%q has a line %q", s, line)
		}
	})
}

// What a terminal takes for orders is not in the files that people show with cat.
func TestFilesHaveNoOrders(t *testing.T) {
	const in = "a\x7f\u0080\u0085\u009b31m\u009f\u00a0é\u202a\u202e\u2066\u2069b"
	if got, want := xmlText(in), "a"+strings.Repeat("\ufffd", 3)+"\ufffd31m\ufffd\u00a0é"+strings.Repeat("\ufffd", 4)+"b"; got != want {
		t.Errorf("XML: %q, want %q", got, want)
	}
	var buf bytes.Buffer
	if err := JSON(&buf, &Report{Warnings: []string{in}}); err != nil {
		t.Fatal(err)
	}
	if want := `"a\u007f\u0080\u0085\u009b31m\u009f` + "\u00a0é" + `\u202a\u202e\u2066\u2069b"`; !strings.Contains(buf.String(), want) {
		t.Errorf("JSON: %q is not in %q", want, buf.String())
	}
	var back Report
	if err := json.Unmarshal(buf.Bytes(), &back); err != nil || len(back.Warnings) != 1 || back.Warnings[0] != in {
		t.Errorf("JSON reads back as %q, %v", back.Warnings, err)
	}
}

// What is written is well-formed, and reads back as what was given but for what XML cannot say.
func FuzzXML(f *testing.F) {
	for _, s := range []string{"a", "]]>", "<&>\"'", "\x00\x01\x1b[31m", "\ufffe\uffff", "\xff", "\r\n\r", "<![CDATA[x]]>", "\ud7ff\U0010ffff", " "} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		var buf bytes.Buffer
		x := newXMLWriter(&buf)
		x.start("testsuites", attr{"name", value})
		x.element("system-out", text, attr{"message", value})
		x.end("testsuites")
		if err := x.flush(); err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(bytes.NewReader(buf.Bytes()))
		var gotText, gotValue string
		for depth := 0; ; {
			token, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%v:\n%s", err, buf.Bytes())
			}
			switch token := token.(type) {
			case xml.StartElement:
				depth++
				gotValue = token.Attr[0].Value
			case xml.EndElement:
				depth--
			case xml.CharData:
				if depth == 2 {
					gotText += string(token)
				}
			}
		}
		if want := xmlText(text); gotText != want {
			t.Errorf("text %q reads back as %q, want %q", text, gotText, want)
		}
		if want := xmlText(value); gotValue != want {
			t.Errorf("attribute %q reads back as %q, want %q", value, gotValue, want)
		}
	})
}

func TestMarkdownQuotes(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"a", "`a`"},
		{"", "``"},
		{"a`b", "``a`b``"},
		{"`a", "`` `a ``"},
		{"![x](http://y)\n# z", "`![x](http://y) # z`"},
	} {
		if got := code(test.in); got != test.want {
			t.Errorf("code(%q) = %q, want %q", test.in, got, test.want)
		}
	}
	if got, want := fence("a\n```\nb"), "````text\na\n```\nb\n````\n"; got != want {
		t.Errorf("fence = %q, want %q", got, want)
	}
}

func TestMarkdownIsBounded(t *testing.T) {
	var r Report
	for range 100 {
		c := Cause{Count: 1, First: Failure{Recipe: "r", ID: "a", Message: strings.Repeat("x", 30_000)}}
		r.Causes = append(r.Causes, c)
	}
	got := Markdown(&r, maxStepSummary)
	if len(got) > maxStepSummary || len(got) < maxStepSummary-31_000 {
		t.Errorf("%d bytes", len(got))
	}
	if !strings.HasSuffix(got, "\nMore is in report.json.\n") || strings.Count(got, "```")%2 != 0 {
		t.Errorf("the end is %q", got[len(got)-100:])
	}
	if got := Markdown(&r, -5); got != "" {
		t.Errorf("%q where nothing fits", got)
	}
}

func TestWorkflowCommands(t *testing.T) {
	if got, want := commandData("a%\r\n::error::b"), "a%25%0D%0A::error::b"; got != want {
		t.Errorf("data %q, want %q", got, want)
	}
	if got, want := commandProperty("a,b:c%\n"), "a%2Cb%3Ac%25"; got != want {
		t.Errorf("property %q, want %q", got, want)
	}
	var r Report
	for range 15 {
		r.Causes = append(r.Causes, Cause{Count: 1, First: Failure{Recipe: "r", ID: "a\n::x::", Message: "m\n::error::n", File: "a,b.yaml", Line: 3}})
	}
	var buf bytes.Buffer
	if err := annotate(&buf, &r); err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("::error file=a%2Cb.yaml,line=3,title=r/a %3A%3Ax%3A%3A::m%0A::error::n\n", 10)
	if buf.String() != want {
		t.Errorf("annotations:\n%s", buf.String())
	}
}

func TestCutMiddle(t *testing.T) {
	text := strings.Repeat("é", 1000)
	got := cutMiddle(text, 101)
	if !utf8.ValidString(got) || len(got) > 130 || !strings.Contains(got, "\n[... cut ...]\n") {
		t.Errorf("%q", got)
	}
	if got := cutMiddle("abc", 3); got != "abc" {
		t.Errorf("%q", got)
	}
	if got := cutEnd(text, 5); got != "éé..." {
		t.Errorf("%q", got)
	}
}
