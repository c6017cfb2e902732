package expr

import (
	"fmt"
	"strings"
)

// Shell interpolates a script: each value is one quoted word, a list several, raw() as it is. t is of ParseShell or
// ParseRaw. The error is an *EvalError.
func (t *Template) Shell(env Env) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		s := p.text
		if p.expr != nil {
			var err error
			if s, err = p.shell(env); err != nil {
				return "", err
			}
		}
		if b.Len()+len(s) > textLimit {
			return "", &EvalError{Source: t.source, Message: fmt.Sprintf("the script is longer than %d MiB", textLimit>>20)}
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

func (p part) shell(env Env) (string, error) {
	if p.place == comment {
		return open + strings.Map(oneLine, p.expr.source) + closing, nil
	}
	v, r, err := p.expr.eval(env)
	if err != nil {
		return "", err
	}
	fail := func(format string, args ...any) (string, error) {
		return "", &EvalError{Source: p.expr.source, Offset: p.expr.shift, Message: fmt.Sprintf(format, args...)}
	}
	if raw, ok := v.(rawText); ok {
		if strings.ContainsRune(string(raw), 0) {
			return fail("a script cannot have a NUL byte in it")
		}
		return string(raw), nil
	}
	list, ok := v.([]any)
	switch {
	case !ok:
		list = []any{v}
	case p.place != manyWords && len(list) != 1:
		return fail("a list of %d values stands where the shell takes one word", len(list))
	}
	words := make([]string, len(list))
	for i, e := range list {
		s, err := r.text(e)
		if err != nil {
			return "", p.expr.evalError(err)
		}
		if strings.ContainsRune(s, 0) {
			return fail("a word of a shell cannot have a NUL byte in it")
		}
		words[i] = quote(s)
	}
	return strings.Join(words, " "), nil
}

func oneLine(c rune) rune {
	if c == '\n' || c == '\r' {
		return ' '
	}
	return c
}

// quote makes one word of s for every shell of the Bourne family: apostrophes stand in double quotes, the rest in single
// ones. No quote follows another of its kind, which would be one quote to a zsh with rc_quotes.
func quote(s string) string {
	if s == "" {
		return "''"
	}
	var b strings.Builder
	for s != "" {
		n := strings.IndexByte(s, '\'')
		if n < 0 {
			n = len(s)
		}
		if n > 0 {
			b.WriteString("'" + s[:n] + "'")
		}
		s = s[n:]
		n = len(s) - len(strings.TrimLeft(s, "'"))
		if n > 0 {
			b.WriteString(`"` + s[:n] + `"`)
		}
		s = s[n:]
	}
	return b.String()
}
