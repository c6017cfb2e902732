// Package beneath opens files of this machine that may lie in folders where somebody else can write, and may have put symbolic
// links in the place of what was meant: from such a folder on no link leads out of it. Which folders those are is the
// caller's to know.
package beneath

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Folders are folders that others can write to. They may be used from many goroutines; the zero value has none.
type Folders struct {
	mu   sync.Mutex
	list []string // without symbolic links
}

// Add adds a folder, which has to be there.
func (f *Folders) Add(folder string) error {
	real, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.list, real) {
		f.list = append(f.list, real)
	}
	return nil
}

// maxFollowed is how many symbolic links of a path are followed.
const maxFollowed = 64

// Enter follows an absolute path until it comes into one of the folders, and returns what is left of it there; empty where it
// comes into none.
func (f *Folders) Enter(path string) (folder, rest string) {
	f.mu.Lock()
	list := slices.Clone(f.list)
	f.mu.Unlock()
	if len(list) == 0 {
		return "", ""
	}
	at, parts := "/", strings.Split(path, "/")
	for followed := 0; ; {
		for _, w := range list {
			if rel, err := filepath.Rel(w, at); err == nil && filepath.IsLocal(rel) {
				return w, filepath.Join(append([]string{rel}, parts...)...)
			}
		}
		if len(parts) == 0 || followed > maxFollowed {
			return "", ""
		}
		next := filepath.Join(at, parts[0]) // which of "..", since at has no links, is what the kernel makes of it
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
		if filepath.IsAbs(link) {
			at = "/"
		}
		parts = append(strings.Split(link, "/"), parts...)
	}
}

// Open opens a file for reading. In one of the folders it waits for no writer of a FIFO.
func (f *Folders) Open(path string) (*os.File, error) {
	folder, rest := f.Enter(path)
	if folder == "" {
		return os.Open(path)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.OpenFile(rest, os.O_RDONLY|unix.O_NONBLOCK, 0)
}
