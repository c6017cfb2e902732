package check

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/internal/mask"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// normalizer applies the changes of a normalize list, in order; the empty one changes nothing.
type normalizer []func([]byte) []byte

func newNormalizer(changes []recipe.Normalize, env expr.Env, secrets *mask.Mask) (normalizer, error) {
	var n normalizer
	for _, ch := range changes {
		bad := func(err error) (normalizer, error) {
			return nil, unfit{fmt.Errorf("normalize in line %d: %w", ch.Pos.Line, err)}
		}
		switch ch.Kind {
		case "trim":
			n = append(n, bytes.TrimSpace)
		case "crlf":
			n = append(n, unixLines)
		case "ansi":
			n = append(n, stripANSI)
		case "replace":
			replace, err := ch.Replace.Text(env)
			if err != nil {
				return bad(err)
			}
			re, err := regexp.Compile(pattern(secrets, replace))
			if err != nil {
				return bad(err)
			}
			with, err := ch.With.TextFunc(env, func(s string) string { // in which a dollar is a dollar
				return strings.ReplaceAll(secrets.Text(s), "$", "$$")
			})
			if err != nil {
				return bad(err)
			}
			if unknown := recipe.UnknownGroups(re, with); len(unknown) > 0 {
				return bad(errors.New(unknown[0].String()))
			}
			n = append(n, func(b []byte) []byte { return re.ReplaceAll(b, []byte(with)) })
		default:
			return bad(fmt.Errorf("%q is none of trim, ansi, crlf and replace", ch.Kind))
		}
	}
	if len(n) > 0 && secrets != nil {
		n = append(n, secrets.Bytes) // one may have been in pieces
	}
	return n, nil
}

// pattern is a regular expression for text in which secrets are masked.
func pattern(secrets *mask.Mask, source string) string {
	masked := secrets.Text(source)
	if masked == source {
		return source
	}
	return strings.ReplaceAll(masked, mask.Text, regexp.QuoteMeta(mask.Text))
}

func (n normalizer) apply(b []byte) []byte {
	for _, change := range n {
		b = change(b)
	}
	return b
}

func unixLines(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")) }

// stripANSI removes escape sequences as a terminal would swallow them. Where there are any, what is not UTF-8 becomes
// U+FFFD: an escape hidden in a broken character would survive otherwise.
func stripANSI(b []byte) []byte {
	if bytes.IndexByte(b, '\x1b') < 0 {
		return b
	}
	return []byte(ansi.Strip(strings.ToValidUTF8(string(b), "\uFFFD")))
}
