package python

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// quote writes argv so that Python's shlex.split(s) reads it again. There is no shell: a backslash, a newline or a dollar
// sign needs no care but within double quotes, where the first has a meaning.
func quote(argv []string) (string, error) {
	var b strings.Builder
	for i, arg := range argv {
		if !utf8.ValidString(arg) || strings.IndexByte(arg, 0) >= 0 {
			return "", errors.New("an argument is not text, which the python runtime cannot take")
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		if !strings.Contains(arg, "'") {
			b.WriteString("'" + arg + "'")
			continue
		}
		// Shorter than leaving single quotes for each that is in it.
		b.WriteByte('"')
		_, _ = doubleQuoted.WriteString(&b, arg) // a strings.Builder takes all
		b.WriteByte('"')
	}
	return b.String(), nil
}

var doubleQuoted = strings.NewReplacer(`\`, `\\`, `"`, `\"`)
