package check

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/internal/mask"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// Env returns base with the outcome's own names: exit, stdout, stderr, duration (in seconds) and file(path), the text
// of a file in the sandbox. Text has U+FFFD for what is not UTF-8, and is read when an expression first needs it; an
// expression that needs one beyond MaxText cannot be evaluated. Like these, env is masked.
func (o Outcome) Env(ctx context.Context, base expr.Env) expr.Env {
	env := make(expr.Env, len(base)+5)
	maps.Copy(env, base)
	if vars, ok := base["env"]; ok {
		env["env"] = mask.Value(o.Mask, vars)
	}
	env["exit"] = o.Exit
	env["duration"] = o.Duration.Seconds()
	env["stdout"] = lazyText(ctx, "stdout", o.Stdout)
	env["stderr"] = lazyText(ctx, "stderr", o.Stderr)
	env["file"] = func(path string) (string, error) { return o.fileText(ctx, path) }
	return env
}

func (o Outcome) fileText(ctx context.Context, path string) (string, error) {
	if o.Fetch == nil {
		return "", errors.New("file() has no sandbox to read from here")
	}
	files, err := o.Fetch(ctx, []string{path})
	if err != nil {
		return "", err
	}
	f, found := files[path]
	switch {
	case !found:
		return "", fmt.Errorf("file %q does not exist", path)
	case f.Content == nil:
		return "", fmt.Errorf("file %q is %s", path, f.describe())
	}
	src, err := masked(ctx, f.Content, o.Mask)
	if err != nil {
		return "", err
	}
	return text(ctx, fmt.Sprintf("file %q", path), src)
}

func lazyText(ctx context.Context, name string, s Source) expr.Lazy {
	return sync.OnceValues(func() (any, error) { return text(ctx, name, orEmpty(s)) })
}

func text(ctx context.Context, name string, s Source) (string, error) {
	b, err := load(ctx, s)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return strings.ToValidUTF8(string(b), "\uFFFD"), nil
}

// that checks conditions.
func (c *checker) that(conditions []recipe.That, out Outcome) {
	for _, t := range conditions {
		holds, err := t.Expr.Bool(c.env)
		switch {
		case err != nil:
			c.found(t.Pos, "that", "", "%s: cannot be evaluated: %s", t.Expr.Source(), why(err))
		case !holds:
			c.found(t.Pos, "that", "", "%s: does not hold%s", t.Expr.Source(), values(t.Expr, out, c.env))
		}
	}
}

// values tells the values of the outcome's names that e uses.
func values(e *expr.Expr, out Outcome, env expr.Env) string {
	var b strings.Builder
	for _, name := range []string{"exit", "duration", "stdout", "stderr"} {
		if !e.Uses(name) {
			continue
		}
		if b.Len() == 0 {
			b.WriteString(", with ")
		} else {
			b.WriteString(", ")
		}
		switch name {
		case "exit":
			fmt.Fprintf(&b, "exit = %d", out.Exit)
		case "duration":
			fmt.Fprintf(&b, "duration = %.3f", out.Duration.Seconds())
		default:
			text, err := env[name].(expr.Lazy)()
			if err != nil {
				continue // the expression did not need it
			}
			fmt.Fprintf(&b, "%s = %s", name, brief([]byte(text.(string))))
		}
	}
	return b.String()
}

// why is the reason of an error of an expression whose source is shown beside it.
func why(err error) string {
	if e, ok := errors.AsType[*expr.EvalError](err); ok {
		return e.Message
	}
	return err.Error()
}
