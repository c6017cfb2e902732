package executor

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// guard opens files of this machine that a recipe names. Those in a folder that one of its sandboxes has as a writable mount
// may have been replaced: no symbolic link leads out of it.
type guard struct{ writable []string } // without symbolic links

// guarded is the guard of a sample.
func guarded(r *recipe.Recipe, names func() expr.Env) guard {
	var g guard
	for _, m := range writableMounts(r) {
		src, err := text(m.Src, names)
		if err != nil {
			continue // nor is there such a sandbox
		}
		if at, err := filepath.EvalSymlinks(beside(r.Dir, src)); err == nil {
			g.writable = append(g.writable, at)
		}
	}
	return g
}

func writableMounts(r *recipe.Recipe) []recipe.Mount {
	var mounts []recipe.Mount
	for _, sb := range r.Sandboxes {
		mounts = append(mounts, slices.DeleteFunc(slices.Clone(sb.Mounts), func(m recipe.Mount) bool { return !m.Writable })...)
	}
	return mounts
}

// open opens a file. One that is not what it was for the recipe's author is an *artifactError.
func (g guard) open(full string) (*os.File, error) {
	folder, rest := g.enter(full)
	if folder == "" {
		return os.Open(full)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(rest, os.O_RDONLY|unix.O_NONBLOCK, 0) // it may have become a FIFO
	if err != nil {
		return nil, unfit("%s, which a sandbox can write to, or to what leads there: %v", full, err)
	}
	return f, nil
}

// maxFollowed is how many symbolic links of a path are followed.
const maxFollowed = 64

// enter follows a path until it comes into a folder that a sandbox can write to, and returns what is left of it there; empty
// where it does not.
func (g guard) enter(full string) (folder, rest string) {
	if len(g.writable) == 0 {
		return "", ""
	}
	split := func(p string) []string { return strings.Split(strings.Trim(filepath.Clean(p), "/"), "/") }
	at, parts := "/", split(full)
	for followed := 0; ; {
		for _, w := range g.writable {
			if rel, err := filepath.Rel(w, at); err == nil && filepath.IsLocal(rel) {
				return w, filepath.Join(append([]string{rel}, parts...)...)
			}
		}
		if len(parts) == 0 || followed > maxFollowed {
			return "", ""
		}
		next := filepath.Join(at, parts[0])
		parts = parts[1:]
		info, err := os.Lstat(next)
		if err != nil || info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		link, err := os.Readlink(next)
		if err != nil {
			return "", ""
		}
		followed++
		if !filepath.IsAbs(link) {
			link = filepath.Join(at, link)
		}
		at, parts = "/", append(split(link), parts...)
	}
}

// regular opens a file that was one when it was looked at.
func (g guard) regular(full string) (*os.File, error) {
	f, err := g.open(full)
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
