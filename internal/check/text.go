package check

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// subject is a text under test: a stream or a file of the sandbox.
type subject struct {
	name string // as findings name the expectation: stdout, files["out.txt"]
	what string // as messages name the text: stdout, "out.txt"
	src  Source // after normalising
	// exact is the text before it was masked; nil of output, which is masked before it is stored.
	exact Source
}

// text checks everything that t expects of s.
func (c *checker) text(s *subject, t *recipe.Text) error {
	norm, err := newNormalizer(t.Normalize, c.base, c.mask)
	if err == nil {
		s.src, err = c.normalized(s.src, norm)
	}
	if blame, ok := errors.AsType[unfit](err); ok {
		c.found(t.Pos, s.name+".normalize", "", "%s cannot be normalised: %v", s.what, blame)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", s.what, err)
	}
	check := func(kind string, matches []recipe.Match, one func(m recipe.Match, want string) error) error {
		for _, m := range matches {
			want, err := m.Text.Text(c.base)
			if err != nil {
				c.found(m.Pos, s.name+"."+kind, "", "what to compare with cannot be evaluated: %v", err)
				continue
			}
			err = one(m, want)
			if blame, ok := errors.AsType[unfit](err); ok {
				c.found(m.Pos, s.name+"."+kind, "", "what to compare with cannot be normalised: %v", blame)
				continue
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	side := func(with func(m recipe.Match, want []byte) error) func(recipe.Match, string) error {
		return func(m recipe.Match, want string) error {
			b, err := norm.apply(c.ctx, c.mask.Bytes([]byte(want)))
			if err != nil {
				return err
			}
			return with(m, b)
		}
	}
	return errors.Join(
		check("equals", t.Equals, side(func(m recipe.Match, want []byte) error { return c.equals(s, m, want) })),
		check("contains", t.Contains, side(func(m recipe.Match, want []byte) error { return c.contains(s, m, want, true) })),
		check("not_contains", t.NotContains, side(func(m recipe.Match, want []byte) error { return c.contains(s, m, want, false) })),
		check("matches", t.Matches, func(m recipe.Match, want string) error { return c.matches(s, m, want, true) }),
		check("not_matches", t.NotMatches, func(m recipe.Match, want string) error { return c.matches(s, m, want, false) }),
		c.json(s, t, norm),
		check("golden", t.Golden, func(m recipe.Match, want string) error { return c.goldenFile(s, m, want, norm) }),
	)
}

// normalized returns src with norm applied, which takes the whole text unless norm is empty.
func (c *checker) normalized(src Source, norm normalizer) (Source, error) {
	if len(norm) == 0 {
		return src, nil
	}
	b, err := load(c.ctx, src)
	if err != nil {
		return nil, err
	}
	if b, err = norm.apply(c.ctx, b); err != nil {
		return nil, err
	}
	return Bytes(b), nil
}

// equals compares s with want, but for newlines at the end.
func (c *checker) equals(s *subject, m recipe.Match, want []byte) error {
	d, err := c.compare(withoutFinalNewlines{Bytes(want)}, withoutFinalNewlines{s.src})
	if err != nil {
		return fmt.Errorf("read %s: %w", s.what, err)
	}
	if d != nil {
		c.found(m.Pos, s.name+".equals", d.diff, "%s is not the expected text: %s", s.what, d.text)
	}
	return nil
}

// goldenFile compares s with a file beside the recipe, byte by byte.
func (c *checker) goldenFile(s *subject, m recipe.Match, name string, norm normalizer) error {
	note := func(diff, format string, args ...any) {
		before := len(c.findings)
		c.found(m.Pos, s.name+".golden", diff, format, args...)
		c.golden = append(c.golden, c.findings[before])
		c.findings = c.findings[:before]
	}
	if name == "" {
		c.found(m.Pos, s.name+".golden", "", "the name of the golden file is empty")
		return nil
	}
	if !filepath.IsLocal(name) {
		c.found(m.Pos, s.name+".golden", "", "the golden file %q lies outside the recipe's folder", name)
		return nil
	}
	path := filepath.Join(c.dir, name)
	if c.mayUse != nil {
		if err := c.mayUse(m.Text, path); err != nil {
			c.found(m.Pos, s.name+".golden", "", "the golden file %v", err)
			return nil
		}
	}
	content, err := openGolden(c.dir, name)
	switch blame, isUnfit := errors.AsType[unfit](err); {
	case errors.Is(err, fs.ErrNotExist):
		remedy := "run with --update to write it"
		if c.update {
			remedy = "it is written once the other expectations of the step hold"
		}
		note("", "the golden file %s does not exist: %s", name, remedy)
		c.updates = append(c.updates, Update{path: name, pos: m.Pos, content: s.src, differs: true})
		return nil
	case isUnfit:
		_, astray := resolve(c.dir, name)
		if astray != nil && c.update {
			note("", "the golden file %s cannot be used: %v", name, astray)
			c.updates = append(c.updates, Update{path: name, pos: m.Pos, content: s.src, differs: true}) // which is refused
			return nil
		}
		c.found(m.Pos, s.name+".golden", "", "the golden file %s cannot be used: %v", name, cmp.Or(astray, error(blame)))
		return nil
	}
	shown, err := masked(c.ctx, content, c.mask)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	exact := content
	content, err = c.normalized(shown, norm)
	if blame, isUnfit := errors.AsType[unfit](err); isUnfit {
		c.found(m.Pos, s.name+".golden", "", "the golden file %s cannot be normalised: %v", name, blame)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	d, err := c.compare(content, s.src)
	if err != nil {
		return fmt.Errorf("compare %s with %s: %w", s.what, path, err)
	}
	if d != nil {
		note(d.diff, "%s differs from the golden file %s: %s", s.what, name, d.text)
	}
	differs := d != nil
	if c.update && !differs && c.mask != nil { // a secret in the file is no difference, but it is to go
		_, clean, err := c.part(exact, shown)
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		differs = !clean
	}
	c.updates = append(c.updates, Update{path: name, pos: m.Pos, content: s.src, differs: differs})
	return nil
}

// openGolden returns a golden file's content. The error is fs.ErrNotExist or unfit.
func openGolden(dir, name string) (Source, error) {
	source := goldenSource{dir, name}
	f, err := source.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, unfit{err}
	}
	return source, f.Close()
}

// goldenSource is a file below a folder as a Source. Symbolic links do not lead out of the folder, in which a sandbox may have put
// them.
type goldenSource struct{ dir, name string }

func (g goldenSource) open() (*os.File, error) {
	root, err := os.OpenRoot(g.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(g.name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO, which waits for a writer else, is refused
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (g goldenSource) Open() (io.ReadCloser, error) { return g.open() }

func (g goldenSource) Size() int64 {
	f, err := g.open()
	if err != nil {
		return 0
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// contains looks for a text in s; whether it may be there is said by wanted.
func (c *checker) contains(s *subject, m recipe.Match, needle []byte, wanted bool) error {
	at, line, err := c.find(s.src, needle)
	if err != nil {
		return fmt.Errorf("read %s: %w", s.what, err)
	}
	switch {
	case wanted && at < 0:
		c.found(m.Pos, s.name+".contains", "", "%s does not contain %s; %s", s.what, brief(needle), c.came(s.src))
	case !wanted && at >= 0:
		c.found(m.Pos, s.name+".not_contains", "", "%s contains %s in line %d%s", s.what, brief(needle), line, c.around(s.src, at))
	}
	return nil
}

// matches searches s for an RE2 expression.
func (c *checker) matches(s *subject, m recipe.Match, source string, wanted bool) error {
	kind := ".matches"
	if !wanted {
		kind = ".not_matches"
	}
	source = pattern(c.mask, source)
	re, err := regexp.Compile(source)
	if err != nil {
		c.found(m.Pos, s.name+kind, "", "%v", err)
		return nil
	}
	at, err := c.search(s.src, re)
	if err != nil {
		return fmt.Errorf("read %s: %w", s.what, err)
	}
	switch {
	case wanted && at < 0:
		c.found(m.Pos, s.name+kind, "", "%s does not match /%s/; %s%s", s.what, re, c.came(s.src), c.byLine(s.src, source))
	case !wanted && at >= 0:
		c.found(m.Pos, s.name+kind, "", "%s matches /%s/%s", s.what, re, c.around(s.src, at))
	}
	return nil
}

// byLine is a hint for a pattern that matches nothing because $ and ^ are the ends of the whole text, after its final
// newline, and not those of lines.
func (c *checker) byLine(src Source, pattern string) string {
	if !strings.ContainsAny(pattern, "$^") {
		return ""
	}
	re, err := regexp.Compile("(?m:" + pattern + ")")
	if err != nil {
		return ""
	}
	if at, err := c.search(src, re); err != nil || at < 0 {
		return ""
	}
	return " (with (?m) before it, it would: ^ and $ are then the ends of lines)"
}
