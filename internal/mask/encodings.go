package mask

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf16"
)

// escapes are what programs make of the characters that mean something where they write a text.
var escapes = []*strings.Replacer{
	// XML and HTML: text; attributes as .NET and Java, Python, PHP and JavaScript, and Go write them.
	strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;"),
	strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;"),
	strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;"),
	strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#x27;"),
	strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#39;"),
	strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;"),
	// A shell's trace (set -x): bash's, dash's.
	strings.NewReplacer("'", `'\''`),
	strings.NewReplacer("'", `'"'"'`),
	// Python's repr.
	strings.NewReplacer(`\`, `\\`),
	strings.NewReplacer(`\`, `\\`, "'", `\'`),
}

// encoded returns what s reads like in hex and in base64, there at any of the three alignments within a longer text.
func encoded(s string) []string {
	digits := hex.EncodeToString([]byte(s))
	return append(inBase64(s), digits, strings.ToUpper(digits))
}

// escaped returns what s reads like in a URL, and as JSON, XML, HTML, languages and shells write it. Mostly that is s.
func escaped(s string) []string {
	out := append(inURL(s), inJSON(s)...)
	for _, quote := range []func(string) string{strconv.Quote, strconv.QuoteToASCII} {
		out = append(out, unquoted(quote(s)))
	}
	for _, e := range escapes {
		out = append(out, e.Replace(s))
	}
	return out
}

// unquoted is a quoted text without its quotes.
func unquoted(s string) string { return s[1 : len(s)-1] }

// inURL escapes as Go, JavaScript's encodeURIComponent and Python's urllib.parse.quote do.
func inURL(s string) []string {
	path := url.PathEscape(s)
	form := url.QueryEscape(s)
	component := strings.ReplaceAll(form, "+", "%20")
	return []string{
		path, form,
		strings.NewReplacer("%21", "!", "%27", "'", "%28", "(", "%29", ")", "%2A", "*").Replace(component),
		strings.ReplaceAll(component, "%2F", "/"),
		component,
	}
}

// inJSON escapes as encoding/json does, without and with what HTML needs, as JSON.stringify, and as Python and PHP do,
// which keep to ASCII.
func inJSON(s string) []string {
	unicode := jsonText(s)
	html, _ := json.Marshal(s) // text always has a JSON form
	var ascii strings.Builder
	for _, r := range unicode {
		if r < 0x80 {
			ascii.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&ascii, `\u%04x`, unit)
		}
	}
	return []string{unicode, unquoted(string(html)), ascii.String(), strings.ReplaceAll(ascii.String(), "/", `\/`)}
}

// jsonText is s as JSON, without its quotes and without escapes for HTML.
func jsonText(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // text always has a JSON form
	return unquoted(strings.TrimSuffix(b.String(), "\n"))
}

func inBase64(s string) []string {
	var out []string
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 {
			// Behind `shift` unknown bytes the first characters depend on those, and the last one on what follows.
			text := enc.EncodeToString(append(make([]byte, shift), s...))
			from := (shift*8 + 5) / 6
			to := len(text)
			if (shift+len(s))%3 != 0 {
				to--
			}
			if core := text[min(from, to):to]; len(core) >= 2*minPart {
				out = append(out, core)
			}
		}
		out = append(out, enc.EncodeToString([]byte(s)))
	}
	return out
}
