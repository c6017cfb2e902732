package executor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/sbxrun/sbxrun/internal/beneath"
	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// gather collects the files that a recipe names beside it, or has in it, into an archive.
type gather struct {
	origins origins
	exposed *beneath.Folders
	names   func() expr.Env
	now     time.Time // of files that are in the recipe itself
	to      archive
}

// errNoFile is a src that nothing matches.
var errNoFile = errors.New("there is no such file beside the recipe")

// add takes one item of files. The errors of expressions are *expr.EvalError.
func (g *gather) add(f recipe.File) error {
	dst, err := pathText(f.Dst, g.names)
	if err == nil {
		err = placeable(dst)
	}
	if err != nil {
		return fmt.Errorf("dst: %w", err)
	}
	mode, err := fileMode(f, g.names)
	if err != nil {
		return err
	}
	if f.Content != nil {
		content, err := text(f.Content, g.names)
		if err != nil {
			return fmt.Errorf("content: %w", err)
		}
		if dst == "" {
			return fmt.Errorf("dst: %w", &expr.EvalError{Source: f.Dst.Source(), Message: "it is empty, and content has no name of its own"})
		}
		g.to.add(entry{
			name: dst, mode: modeOr(mode, 0o644), size: int64(len(content)), time: g.now,
			open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(content))), nil },
		})
		return nil
	}
	src, err := pathText(f.Src, g.names)
	if err != nil {
		return fmt.Errorf("src: %w", err)
	}
	within := g.origins.bounds(f.Src)
	err = g.source(src, dst, mode, within)
	if errors.Is(err, doublestar.ErrBadPattern) && within.steps {
		return unfit("src: %q, which a step chose, is no glob", src)
	}
	if !errors.Is(err, errNoFile) {
		return err
	}
	optional, wrong := truth(f.Optional, g.names)
	switch {
	case wrong != nil:
		return fmt.Errorf("optional: %w", wrong)
	case optional:
		return nil
	}
	return err
}

// fileMode is the mode that f asks for; zero: none. The error is an *expr.EvalError.
func fileMode(f recipe.File, names func() expr.Env) (uint32, error) {
	if f.Mode == nil {
		return 0, nil
	}
	bits, err := text(f.Mode, names)
	if err != nil {
		return 0, fmt.Errorf("mode: %w", err)
	}
	mode, err := recipe.ModeOf(bits)
	if err != nil {
		return 0, fmt.Errorf("mode: %w", &expr.EvalError{Source: f.Mode.Source(), Message: err.Error()})
	}
	return mode, nil
}

// pathText interpolates a path. The error is an *expr.EvalError.
func pathText(t *expr.Template, names func() expr.Env) (string, error) {
	s, err := text(t, names)
	if err == nil && strings.IndexByte(s, 0) >= 0 {
		err = &expr.EvalError{Source: t.Source(), Message: "it has a NUL byte, which no path can have"}
	}
	return s, err
}

// source adds a file, a folder or what a glob matches.
func (g *gather) source(src, dst string, mode uint32, within bounds) error {
	if src == "" { // which would be the folder of the recipe
		return fmt.Errorf("src is empty: %w", errNoFile)
	}
	full := beside(g.origins.recipe.Dir, src)
	if err := within.check(src, full); err != nil {
		return fmt.Errorf("src: %w", err)
	}
	info, err := os.Stat(full)
	switch {
	case err == nil && info.IsDir():
		return g.folder(full, defaultTo(dst, path.Base(filepath.ToSlash(full))), mode)
	case err == nil:
		return g.file(full, info, fileDst(dst, path.Base(filepath.ToSlash(full))), mode)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case !isGlob(src):
		return fmt.Errorf("%s: %w", src, errNoFile)
	}
	return g.glob(src, filepath.ToSlash(full), dst, mode, within)
}

// dotted are patterns of names that begin with a dot.
var dotted = regexp.MustCompile(`(^|[{,])\.`)

// glob adds what a glob matches: files, folders with their content, and links. A link that itself matches, and leads to a
// file, is taken for that file; through others nothing is looked for.
func (g *gather) glob(src, full, dst string, mode uint32, within bounds) error {
	fixed, pattern := doublestar.SplitPattern(full)
	names, err := doublestar.Glob(os.DirFS(fixed), pattern, doublestar.WithNoFollow(), doublestar.WithFailOnIOErrors())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", src, err)
	}
	spelled := dotted.MatchString(path.Base(pattern))
	names = slices.DeleteFunc(names, func(name string) bool {
		if name == "." || slices.Contains(strings.Split(name, "/"), ".sbxrun") { // which ** matches too; runs grow while they are read
			return true
		}
		if spelled || !strings.HasPrefix(path.Base(name), ".") {
			return false
		}
		info, err := os.Stat(filepath.Join(fixed, name))
		return err == nil && info.IsDir() // nobody means .git by *
	})
	if len(names) == 0 {
		return fmt.Errorf("%s: %w", src, errNoFile)
	}
	matches := make(map[string]bool, len(names))
	for _, name := range names {
		matches[filepath.Join(fixed, name)] = true
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		full := filepath.Join(fixed, name)
		info, err := os.Stat(full)
		if err == nil && !info.IsDir() {
			if err = within.check(name, full); err != nil {
				return fmt.Errorf("src: %w", err)
			}
			err = g.file(full, info, path.Join(dst, name), mode)
		} else {
			err = g.walk(full, path.Join(dst, name), mode, matches)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *gather) file(full string, info fs.FileInfo, dst string, mode uint32) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is neither a file nor a folder", full)
	}
	g.to.add(entry{
		name: dst, mode: modeOr(mode, info.Mode().Perm()), size: info.Size(), time: info.ModTime(),
		open: func() (io.ReadCloser, error) { return openRegular(g.exposed, full) },
	})
	return nil
}

// openRegular opens a file that was a regular one when it was looked at.
func openRegular(exposed *beneath.Folders, full string) (*os.File, error) {
	f, err := openExposed(exposed, full)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file any more", full)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openExposed opens a file beside a recipe. That what a sandbox can write to leads elsewhere is an *artifactError.
func openExposed(exposed *beneath.Folders, full string) (*os.File, error) {
	f, err := exposed.Open(full)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if from, _ := exposed.Enter(full); from != "" {
			return nil, exposedError(full, err)
		}
	}
	return f, err
}

func exposedError(full string, err error) error {
	return unfit("%s, which a sandbox can write to, or to what leads there: %v", full, err)
}

// folder adds the content of a folder, which may be named by a symbolic link.
func (g *gather) folder(root, dst string, mode uint32) error {
	real, err := filepath.EvalSymlinks(root) // WalkDir would not go into a link
	if err != nil {
		return err
	}
	if from, _ := g.exposed.Enter(root); from != "" && !inside(from, real) {
		return exposedError(root, errors.New("a symbolic link leads out of that"))
	}
	root = real
	return g.walk(root, dst, mode, nil)
}

// walk adds what is at or below root, but for what others add. Links stay what they are.
func (g *gather) walk(root, dst string, mode uint32, others map[string]bool) error {
	return filepath.WalkDir(root, func(full string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case full != root && others[full] && d.IsDir():
			return fs.SkipDir
		case full != root && others[full]:
			return nil
		}
		rel, err := filepath.Rel(root, full)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name := path.Join(dst, filepath.ToSlash(rel))
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(full)
			if err != nil {
				return err
			}
			g.to.add(entry{name: name, mode: fs.ModeSymlink, link: link, time: info.ModTime()})
		case d.IsDir():
			if c := path.Clean(name); c != "." && c != "/" { // the workspace itself keeps its mode
				g.to.add(entry{name: name, mode: fs.ModeDir | info.Mode().Perm(), time: info.ModTime()})
			}
		default:
			return g.file(full, info, name, mode)
		}
		return nil
	})
}

// beside makes a path relative to the recipe's folder absolute.
func beside(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, filepath.FromSlash(name))
}

// isGlob says whether a path has anything in it that a glob gives a meaning to.
func isGlob(p string) bool { return strings.ContainsAny(p, `*?[{\`) }

func modeOr(mode uint32, otherwise fs.FileMode) fs.FileMode {
	if mode != 0 {
		return fs.FileMode(mode).Perm()
	}
	return otherwise
}

func defaultTo(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// fileDst is where a single file goes: to dst, into dst if that ends in a slash or is a folder by its name.
func fileDst(dst, base string) string {
	if dst == "" || strings.HasSuffix(dst, "/") || dst == "." {
		return path.Join(dst, base)
	}
	return dst
}
