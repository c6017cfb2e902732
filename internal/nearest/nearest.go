// Package nearest finds the name that a misspelt one was meant to be. Every message that says "did you mean" gets its
// suggestion here, so that keys, names in expressions, flags and commands are judged alike.
package nearest

import (
	"slices"
	"unicode/utf8"

	"github.com/agext/levenshtein"
)

// Nearest returns the name closest to name, and false where none is close enough to be what was meant: more than a
// third of the letters would have to change. Two letters in each other's place count as one change. The first of
// equally close names wins.
func Nearest(name string, names []string) (string, bool) {
	length := utf8.RuneCountInString(name)
	best, found := "", false
	limit := (length + 2) / 3
	for _, candidate := range names {
		n := utf8.RuneCountInString(candidate)
		if n == 0 || n-length > limit || length-n > limit {
			continue
		}
		distance := levenshtein.Distance(name, candidate, nil)
		if distance == 2 && n == length && sameLetters(name, candidate) {
			distance = 1
		}
		// A name that shares no letter is not near, however short both are.
		if distance <= limit && distance < n {
			best, found, limit = candidate, true, distance-1
		}
	}
	return best, found
}

func sameLetters(a, b string) bool {
	x, y := []rune(a), []rune(b)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}
