package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/internal/mask"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// normalizer applies the changes of a normalize list, in order; the empty one changes nothing.
type normalizer []func(context.Context, []byte) ([]byte, error)

func (n *normalizer) add(change func([]byte) []byte) {
	*n = append(*n, func(_ context.Context, b []byte) ([]byte, error) { return change(b), nil })
}

func newNormalizer(changes []recipe.Normalize, env expr.Env, secrets *mask.Mask) (normalizer, error) {
	var n normalizer
	for _, ch := range changes {
		bad := func(err error) (normalizer, error) {
			return nil, unfit{fmt.Errorf("normalize in line %d: %w", ch.Pos.Line, err)}
		}
		switch ch.Kind {
		case "trim":
			n.add(bytes.TrimSpace)
		case "crlf":
			n.add(unixLines)
		case "ansi":
			n.add(stripANSI)
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
			r, err := newReplacer(re, with)
			if err != nil {
				return bad(err)
			}
			n = append(n, r.replace)
		default:
			return bad(fmt.Errorf("%q is none of trim, ansi, crlf and replace", ch.Kind))
		}
	}
	if len(n) > 0 && secrets != nil {
		n.add(secrets.Bytes) // one may have been in pieces
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

// apply returns b with the changes applied. The error is the context's, or unfit.
func (n normalizer) apply(ctx context.Context, b []byte) ([]byte, error) {
	for _, change := range n {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var err error
		if b, err = change(ctx, b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// replacer is regexp.ReplaceAll that ends with a context, and where the result is beyond MaxText.
type replacer struct {
	re, after *regexp.Regexp // after searches from the character before the place where a match may begin
	prefix    []byte         // how every match begins
	with      [][]byte       // pieces of the template, at most one group in each
}

var templatePiece = regexp.MustCompile(`\$\$|\$\{[\pL\p{Nd}_]*\}|\$[\pL\p{Nd}_]+|\$|[^$]+`)

func newReplacer(re *regexp.Regexp, with string) (*replacer, error) {
	tree, err := syntax.Parse(re.String(), syntax.Perl)
	if err != nil {
		return nil, err
	}
	// The tree's text, as \Q need not be closed in the source. The lazy skip makes it the leftmost match, and the
	// character before is what ^ and \b look at.
	after, err := regexp.Compile(`\A(?s:.)(?s:.)*?(` + tree.String() + `)`)
	if err != nil {
		return nil, err
	}
	prefix, _ := re.LiteralPrefix()
	return &replacer{re, after, []byte(prefix), templatePiece.FindAll([]byte(with), -1)}, nil
}

// next returns the first match that begins at from or after, as FindSubmatchIndex does.
func (r *replacer) next(ctx context.Context, b []byte, from int) ([]int, error) {
	if len(r.prefix) > 0 {
		i := bytes.Index(b[from:], r.prefix)
		if i < 0 {
			return nil, nil
		}
		from += i
	}
	re, base := r.re, 0
	if from > 0 {
		_, width := utf8.DecodeLastRune(b[:from])
		re, base = r.after, from-width
	}
	runes := &byteRunes{ctx: ctx, b: b[base:]}
	m := re.FindReaderSubmatchIndex(runes)
	if runes.err != nil {
		return nil, runes.err
	}
	if m != nil && from > 0 {
		m = m[2:]
	}
	for i := range m {
		if m[i] >= 0 {
			m[i] += base
		}
	}
	return m, nil
}

// replace does as the loop of regexp.ReplaceAll does.
func (r *replacer) replace(ctx context.Context, b []byte) ([]byte, error) {
	var out []byte
	put := func(piece []byte) { out = append(out, piece...) }
	last := 0 // end of the last match
	for from := 0; from <= len(b); {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		m, err := r.next(ctx, b, from)
		if err != nil {
			return nil, err
		}
		if m == nil {
			break
		}
		put(b[last:m[0]])
		if m[1] > last || m[0] == 0 { // no empty match right after another
			for _, piece := range r.with {
				if out = r.re.Expand(out, piece, b, m); len(out) > MaxText {
					return nil, unfit{fmt.Errorf("with its replacements it is over %s long", size(MaxText))}
				}
			}
		}
		last = m[1]
		_, width := utf8.DecodeRune(b[from:])
		from = max(from+max(width, 1), m[1])
	}
	put(b[last:])
	if len(out) > MaxText && len(out) > len(b) {
		return nil, unfit{fmt.Errorf("with its replacements it is over %s long", size(MaxText))}
	}
	return out, nil
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
