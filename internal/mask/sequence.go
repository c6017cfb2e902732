package mask

const esc = 0x1b

// maxSkipped bounds the escape sequences within one secret, in bytes: with more it is not found. It is what a stream may
// keep back beyond the length of a secret.
const maxSkipped = 2048

// match returns how much of s's beginning is p, with escape sequences anywhere in it; 0 where it is not. more says that it
// may be p with what follows s.
func match(s, p []byte) (n int, more bool) {
	skipped := 0
	for k := 0; k < len(p); {
		switch {
		case n == len(s):
			return 0, true
		case s[n] == p[k]:
			n++
			k++
		case s[n] == esc && k > 0:
			size, cut := sequences(s[n:])
			if cut {
				return 0, skipped+len(s)-n <= maxSkipped
			}
			skipped += size
			if size == 0 || skipped > maxSkipped {
				return 0, false
			}
			n += size
		default:
			return 0, false
		}
	}
	return n, false
}

// sequences returns the length of the escape sequences that s begins with, 0 where they are longer than maxSkipped. cut
// says that s ends within one.
func sequences(s []byte) (n int, cut bool) {
	for n < len(s) && s[n] == esc {
		size, cut := sequence(s[n:min(len(s), n+maxSkipped)])
		if cut && len(s)-n < maxSkipped {
			return n, true
		}
		if size == 0 {
			break
		}
		if n += size; n > maxSkipped {
			return 0, false
		}
	}
	return n, false
}

// sequence returns the length of the escape sequence that s begins with, 0 for none; cut says that s ends within it. What
// reports leave out, within a line, is one here.
func sequence(s []byte) (n int, cut bool) {
	if len(s) < 2 {
		return 0, true
	}
	last := byte('/') // of the bytes before the one that ends it
	i := 1
	switch s[1] {
	case '[':
		last = '?'
		i++
	case 'P', 'X', '^', '_', ']':
		for i++; i < len(s); i++ {
			switch {
			case s[i] == '\n':
				return 0, false
			case s[i] == '\a' && s[1] == ']':
				return i + 1, false
			case s[i] != esc:
			case i+1 == len(s):
				return 0, true
			case s[i+1] == '\\':
				return i + 2, false
			default:
				return 0, false
			}
		}
		return 0, true
	}
	for ; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return 0, false
		}
		if s[i] > last {
			return i + 1, false
		}
	}
	return 0, true
}
