package shell

import (
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// glob is a pattern, split into the path at its beginning and what paths below that have to match.
type glob struct {
	absolute bool
	base     string // without special characters, relative to the workspace or /
	rest     string // empty: the base itself
	depth    int    // of the paths that may match below the base; -1: any
}

func parseGlob(pattern string) (glob, error) {
	if !doublestar.ValidatePattern(pattern) || strings.ContainsRune(pattern, 0) {
		return glob{}, problem(sandbox.KindInvalid, "glob %q is malformed", pattern)
	}
	g := glob{absolute: path.IsAbs(pattern)}
	clean := strings.TrimPrefix(path.Clean("/"+pattern), "/")
	if clean == "" {
		clean = "**"
	}
	parts := strings.Split(clean, "/")
	n := 0
	for n < len(parts) && !special(parts[n]) {
		parts[n] = unescape(parts[n])
		n++
	}
	g.base, g.rest = strings.Join(parts[:n], "/"), strings.Join(parts[n:], "/")
	g.depth = len(parts) - n
	if g.rest == "" || strings.Contains(g.rest, "**") || strings.ContainsAny(g.rest, "{") { // alternatives may have slashes
		g.depth = -1
	}
	if g.absolute && (g.base == "proc" || strings.HasPrefix(g.base, "proc/")) {
		return glob{}, problem(sandbox.KindInvalid, "glob %q: the kernel's files in /proc cannot be received", pattern)
	}
	return g, nil
}

// special says whether a part of a pattern may match anything but itself. An alternative in braces may go over several
// parts: those after its beginning come behind a special one.
func special(part string) bool {
	for i := 0; i < len(part); i++ {
		switch part[i] {
		case '\\':
			i++
		case '*', '?', '[', '{':
			return true
		}
	}
	return false
}

// unescape removes the backslashes of a pattern without other special characters.
func unescape(pattern string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == '\\' && i+1 < len(pattern) {
			i++
		}
		b.WriteByte(pattern[i])
	}
	return b.String()
}

// matches says whether a path, or a directory that it is in, matches. Only what is below the base is asked for.
func (g glob) matches(name string) bool {
	if g.rest == "" {
		return true
	}
	rel := strings.TrimPrefix(strings.TrimPrefix(name, g.base), "/")
	for i := 0; i <= len(rel); i++ {
		if i < len(rel) && rel[i] != '/' {
			continue
		}
		if ok, err := doublestar.Match(g.rest, rel[:i]); err == nil && ok && i > 0 {
			return true
		}
	}
	return false
}
