package expr

// TextOf is a value as it is interpolated.
func TextOf(v any) (string, error) { return "", nil }

// Normalize turns what decoders make (json.Number, map[any]any, int64, ...) into what expressions work on.
func Normalize(v any) any { return v }

// Equal says whether two values are equal: numbers by value (3 == 3.0), lists and maps by their elements.
func Equal(a, b any) bool { return false }

// Nearest returns the candidate that name is most likely a misspelling of, or "".
func Nearest(name string, candidates []string) string { return "" }
