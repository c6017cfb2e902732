package check

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// Fetch gets files out of the sandbox: those of paths that exist, by the path as it was given. Step calls it once for
// expect.files, without duplicates, and for each path that an expression's file() names. Contents must last until
// Report.Golden has been added to Updates. An error says that the sandbox, or the way to it, failed.
type Fetch func(ctx context.Context, paths []string) (map[string]Fetched, error)

// Fetched is something that exists in the sandbox.
type Fetched struct {
	// Type is the type bits of its mode; zero is a regular file. Symbolic links may be given as what they lead to.
	Type fs.FileMode
	// Content is nil unless it is a regular file. It is as in the sandbox: what is shown of it is masked here.
	Content Source
}

// fetched is an expectation on a file with what was found.
type fetched struct {
	Fetched
	expect *recipe.FileExpect
	path   string
	found  bool
}

// fetch evaluates the paths and gets the files, all in one call.
func (c *checker) fetch(expects []recipe.FileExpect, get Fetch) ([]fetched, error) {
	var files []fetched
	var paths []string
	seen := map[string]bool{}
	for i := range expects {
		e := &expects[i]
		p, err := e.Path.Text(c.base)
		switch {
		case err != nil:
			c.found(e.Pos, "files", "", "the path %s cannot be evaluated: %v", e.Path.Source(), err)
			continue
		case p == "" || strings.ContainsRune(p, 0):
			c.found(e.Pos, "files", "", "%q is no path", p)
			continue
		}
		files = append(files, fetched{expect: e, path: p})
		if !seen[p] {
			seen[p] = true
			paths = append(paths, p)
		}
	}
	if len(paths) == 0 {
		return nil, nil
	}
	if get == nil {
		return nil, errors.New("the outcome of a step that expects files has no way to get them")
	}
	got, err := get(c.ctx, paths)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", strings.Join(paths, ", "), err)
	}
	for i := range files {
		files[i].Fetched, files[i].found = got[files[i].path]
	}
	return files, nil
}

// file checks everything that is expected of one file.
func (c *checker) file(f fetched) error {
	e := f.expect
	name, what := fmt.Sprintf("files[%q]", f.path), fmt.Sprintf("%q", path.Clean(f.path))
	wanted := true
	if e.Exists != nil {
		var err error
		if wanted, err = e.Exists.Truth(c.base); err != nil {
			c.found(e.Pos, name+".exists", "", "whether %s should exist cannot be told: %v", what, err)
			return nil
		}
	}
	switch {
	case !f.found && wanted:
		c.found(e.Pos, name+".exists", "", "%s does not exist", what)
		return nil
	case !f.found:
		return nil
	case !wanted:
		c.found(e.Pos, name+".exists", "", "%s exists (%s) and should not", what, f.describe())
		return nil
	}
	if e.SHA256 == nil && e.Size == nil && e.Text == nil {
		return nil
	}
	if f.Content == nil {
		c.found(e.Pos, name, "", "%s is %s and not a regular file", what, f.describe())
		return nil
	}
	c.size(f, name, what)
	if err := c.sha256(f, name, what); err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	if e.Text == nil {
		return nil
	}
	src, err := masked(c.ctx, f.Content, c.mask)
	if err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	return c.text(&subject{name: name, what: what, src: src, exact: f.Content}, e.Text)
}

func (c *checker) size(f fetched, name, what string) {
	if f.expect.Size == nil {
		return
	}
	v, err := f.expect.Size.Eval(c.base)
	var want int64
	if err == nil {
		want, err = c.integer(v)
	}
	switch got := f.Content.Size(); {
	case err != nil:
		c.found(f.expect.Pos, name+".size", "", "the expected size cannot be told: %v", err)
	case got != want:
		c.found(f.expect.Pos, name+".size", "", "%s has %d bytes, want %d", what, got, want)
	}
}

func (c *checker) sha256(f fetched, name, what string) error {
	if f.expect.SHA256 == nil {
		return nil
	}
	want, err := f.expect.SHA256.Text(c.base)
	if err != nil {
		c.found(f.expect.Pos, name+".sha256", "", "the expected digest cannot be evaluated: %v", err)
		return nil
	}
	r, err := open(c.ctx, f.Content)
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); !strings.EqualFold(strings.TrimSpace(want), got) {
		c.found(f.expect.Pos, name+".sha256", "", "%s has the SHA-256 %s, want %s", what, got, want)
	}
	return nil
}

func (f Fetched) describe() string {
	switch {
	case f.Type.IsDir():
		return "a folder"
	case f.Type&fs.ModeSymlink != 0:
		return "a symbolic link"
	case f.Type&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case f.Type&fs.ModeSocket != 0:
		return "a socket"
	case f.Type&fs.ModeDevice != 0:
		return "a device"
	case f.Content != nil:
		return size(f.Content.Size())
	default:
		return "of another type"
	}
}
