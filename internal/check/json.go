package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/internal/mask"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// json compares s, as one JSON value, with the expected value. What is normalised is the output, and then the texts of
// both values.
func (c *checker) json(s *subject, t *recipe.Text, norm normalizer) error {
	if t.JSON == nil {
		return nil
	}
	found := func(diff, format string, args ...any) {
		c.found(t.JSONPos, s.name+".json", diff, format, args...)
	}
	value, err := t.JSON.Eval(c.base)
	if err != nil {
		found("", "what to compare with cannot be evaluated: %v", err)
		return nil
	}
	text, err := json.Marshal(value)
	var want any
	if err == nil {
		want, err = decodeJSON(text)
	}
	if err != nil {
		found("", "what to compare with is no JSON value: %v", err)
		return nil
	}
	want, err = normalizeTexts(c.ctx, mask.Value(c.mask, want), norm)
	if blame, ok := errors.AsType[unfit](err); ok {
		found("", "what to compare with cannot be normalised: %v", blame)
		return nil
	}
	if err != nil {
		return err
	}
	want = mask.Value(c.mask, want)

	src := s.src
	if s.exact != nil { // what a number has in common with a secret is left alone
		var plain normalizer
		if plain, err = newNormalizer(t.Normalize, c.base, nil); err == nil {
			src, err = c.normalized(s.exact, plain)
		}
	}
	var b []byte
	if err == nil {
		b, err = load(c.ctx, src)
	}
	if blame, ok := errors.AsType[unfit](err); ok {
		found("", "%s cannot be read as JSON: %v", s.what, blame)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", s.what, err)
	}
	got, err := decodeJSON(b)
	if blame, ok := errors.AsType[unfit](err); ok {
		found("", "%s cannot be read as JSON: %v; %s", s.what, blame, c.came(s.src))
		return nil
	}
	if err != nil {
		found("", "%s is not JSON: %v; %s", s.what, err, c.came(s.src))
		return nil
	}
	got = mask.Value(c.mask, got) // in the texts there may be what was written with escapes
	got, err = normalizeTexts(c.ctx, got, norm)
	if blame, ok := errors.AsType[unfit](err); ok {
		found("", "%s cannot be normalised: %v", s.what, blame)
		return nil
	}
	if err != nil {
		return err
	}
	if at, difference := differJSON(want, got); difference != "" {
		if at == "" {
			at = "the value"
		}
		at = shorten(at)
		found(diffJSON(want, got), "%s is not the expected JSON: %s: %s", s.what, at, difference)
	}
	return nil
}

// The limits of a JSON value. The memory is what json() in an expression may take.
const (
	jsonDepth  = 500
	jsonMemory = 256 << 20
)

// decodeJSON reads exactly one JSON value. Numbers are json.Number in one form: 1, 1.0 and 1e0 are "1". The error is
// unfit where the value is beyond the limits; it is not decoded then.
func decodeJSON(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("there is no value")
		}
		return nil, withLine(b, d, err)
	}
	end := d.InputOffset()
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("more follows the first value, in line %d", lineOf(b, end+int64(spaceLen(b[end:]))))
	}
	switch depth, memory := expr.JSONSize([]byte(raw)); {
	case depth > jsonDepth:
		return nil, unfit{fmt.Errorf("it is nested deeper than %d levels", jsonDepth)}
	case memory > jsonMemory:
		return nil, unfit{fmt.Errorf("it needs more than %s of memory", size(jsonMemory))}
	}
	d = json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return canonical(v), nil
}

// withLine adds the line to an error of the decoder.
func withLine(b []byte, d *json.Decoder, err error) error {
	offset := d.InputOffset()
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = syntax.Offset
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("it ends within a value, in line %d", lineOf(b, int64(len(b))))
	}
	return fmt.Errorf("%w, in line %d", err, lineOf(b, offset))
}

func lineOf(b []byte, offset int64) int {
	return 1 + bytes.Count(b[:min(offset, int64(len(b)))], []byte{'\n'})
}

func spaceLen(b []byte) int { return len(b) - len(bytes.TrimLeft(b, " \t\r\n")) }

func canonical(v any) any {
	switch v := v.(type) {
	case json.Number:
		return canonicalNumber(v)
	case []any:
		for i := range v {
			v[i] = canonical(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = canonical(v[k])
		}
	}
	return v
}

var wholeNumber = regexp.MustCompile(`^-?[0-9]+$`)

// canonicalNumber writes a number in one form. Whole numbers stay exact however long they are; others are what a
// float64 makes of them, as in most programs that print JSON.
func canonicalNumber(n json.Number) json.Number {
	if n == "-0" {
		return "0"
	}
	if wholeNumber.MatchString(string(n)) {
		return n
	}
	f, err := n.Float64()
	switch {
	case err != nil: // beyond float64
		return n
	case f == 0:
		return "0"
	case f == math.Trunc(f) && math.Abs(f) < 1e21:
		return json.Number(strconv.FormatFloat(f, 'f', -1, 64))
	default:
		return json.Number(strconv.FormatFloat(f, 'g', -1, 64))
	}
}

// normalizeTexts applies norm to the texts in v, but not to the keys.
func normalizeTexts(ctx context.Context, v any, norm normalizer) (_ any, err error) {
	switch v := v.(type) {
	case string:
		b, err := norm.apply(ctx, []byte(v))
		return string(b), err
	case []any:
		for i := range v {
			if v[i], err = normalizeTexts(ctx, v[i], norm); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range v {
			if v[k], err = normalizeTexts(ctx, v[k], norm); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// differJSON returns where two values first differ, in the order of a list and of sorted keys, and how; or "", "".
func differJSON(want, got any) (at, difference string) {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			break
		}
		for _, k := range sortedKeys(w, g) {
			wv, wanted := w[k]
			gv, came := g[k]
			switch {
			case !came:
				return key(k), "want " + inJSON(wv) + ", got no such key"
			case !wanted:
				return key(k), "want no such key, got " + inJSON(gv)
			}
			if at, difference := differJSON(wv, gv); difference != "" {
				return key(k) + at, difference
			}
		}
		return "", ""
	case []any:
		g, ok := got.([]any)
		if !ok {
			break
		}
		for i := range min(len(w), len(g)) {
			if at, difference := differJSON(w[i], g[i]); difference != "" {
				return fmt.Sprintf("[%d]%s", i, at), difference
			}
		}
		if len(w) != len(g) {
			return "", fmt.Sprintf("want %d elements, got %d", len(w), len(g))
		}
		return "", ""
	default:
		if _, isMap := got.(map[string]any); isMap {
			break
		}
		if _, isList := got.([]any); isList {
			break
		}
		if want == got {
			return "", ""
		}
	}
	wantKind, gotKind := kind(want), kind(got)
	if wantKind == gotKind {
		return "", "want " + inJSON(want) + ", got " + inJSON(got)
	}
	return "", fmt.Sprintf("want %s (%s), got %s (%s)", inJSON(want), wantKind, inJSON(got), gotKind)
}

func sortedKeys(a, b map[string]any) []string {
	keys := make([]string, 0, len(a))
	for k := range a {
		keys = append(keys, k)
	}
	for k := range b {
		if _, both := a[k]; !both {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

var plainKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// key is a key as a part of a path, cut where it is long.
func key(k string) string {
	if len(k) > briefBytes {
		return "[" + brief([]byte(k[:briefBytes+1])) + "]"
	}
	if plainKey.MatchString(k) {
		return "." + k
	}
	return "[" + strconv.Quote(k) + "]"
}

func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case []any:
		return "a list"
	default:
		return "an object"
	}
}

// inJSON writes v on one line, cut where it is long.
func inJSON(v any) string {
	text := encodeJSON(v, "", briefBytes)
	if len(text) > briefBytes {
		return visible(string(cutRune(text[:briefBytes]))) + "..."
	}
	return visible(string(text))
}

// diffJSON compares both values written alike, or returns "" where they are large: the message tells the place.
func diffJSON(want, got any) string {
	w, g := encodeJSON(want, "  ", diffWhole), encodeJSON(got, "  ", diffWhole)
	if max(len(w), len(g)) > diffWhole {
		return ""
	}
	return unified(append(w, '\n'), append(g, '\n'))
}
