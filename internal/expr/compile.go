package expr

// Expr is a compiled expression.
type Expr struct{ source string }

// Compile compiles a bare expression; a ${{ }} around it is accepted. The error is an *Error.
func Compile(src string, scope *Scope) (*Expr, error) { return &Expr{source: src}, nil }

// CompileCondition is Compile for what must be true or false: a result that is known to be something else is an error.
func CompileCondition(src string, scope *Scope) (*Expr, error) { return Compile(src, scope) }

// Source returns the text that was compiled.
func (e *Expr) Source() string { return e.source }

// MarshalText gives the source.
func (e *Expr) MarshalText() ([]byte, error) { return []byte(e.source), nil }

// Eval evaluates e. Results are nil, bool, int, float64, string, []any, map[string]any and what Env holds.
// The error is an *EvalError.
func (e *Expr) Eval(env Env) (any, error) { return nil, nil }

// Bool evaluates a condition. A result that is neither true nor false is an *EvalError.
func (e *Expr) Bool(env Env) (bool, error) { return false, nil }

// Uses says whether e uses the name root, or what path leads to below it. A use that is not known before evaluation
// (steps[x]) is one of everything below.
func (e *Expr) Uses(root string, path ...string) bool { return false }
