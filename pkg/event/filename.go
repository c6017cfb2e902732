package event

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

const (
	maxFileName = 100
	hashBytes   = 16 // of the name's SHA-256, in hex at the end of a cut name
)

// FileName makes a file name of any text: bytes outside [A-Za-z0-9._=,-] become %XX, and what is longer than 100
// bytes then is cut and ends in "%-" and a hash of the whole. "." and ".." are escaped, the empty text is "%-" and a
// hash. Different texts get different names: what is escaped has two upper-case digits after each %, never a minus.
func FileName(s string) string {
	const upper = "0123456789ABCDEF"
	dots := s == "." || s == ".."
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if safeInName(c) && !dots {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(upper[c>>4])
		b.WriteByte(upper[c&15])
	}
	name := b.String()
	if name != "" && len(name) <= maxFileName {
		return name
	}
	sum := sha256.Sum256([]byte(s))
	hash := "%-" + hex.EncodeToString(sum[:hashBytes])
	keep := min(len(name), maxFileName-len(hash))
	// No half of an escape stays before the hash.
	if i := strings.LastIndexByte(name[:keep], '%'); i >= 0 && i > keep-3 {
		keep = i
	}
	return name[:keep] + hash
}

func safeInName(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '.' || c == '_' || c == '=' || c == ',' || c == '-'
}
