package check

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/google/renameio/v2"

	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// Update is what one step says about one golden file.
type Update struct {
	path    string // relative to the recipe's folder
	pos     recipe.Pos
	content Source // normalised
	differs bool   // from what the file has, so that it is to be written
}

// Updates collects what --update is to write. Contents wait in a folder, so that memory does not grow with them.
// Its methods may be called from many goroutines.
type Updates struct {
	spool   string
	recipes []string // without symbolic links
	mu      sync.Mutex
	files   map[target]*update
}

// target is a golden file: where, and the folder of the recipe that it must stay in, both without symbolic links.
type target struct{ root, name string }

type update struct {
	digest  [sha256.Size]byte
	pos     recipe.Pos
	shown   string // from the working directory if it lies below that
	spooled string // empty: the file has this content already
	refused error
}

// NewUpdates returns an Updates that keeps contents in spool, an existing folder. It writes over none of the recipes: what
// names one as a golden file has named the wrong file.
func NewUpdates(spool string, recipes ...string) *Updates {
	u := &Updates{spool: spool, files: map[target]*update{}}
	for _, r := range recipes {
		// What cannot be resolved is no file that resolve comes to, either.
		if r, err := filepath.EvalSymlinks(r); err == nil {
			if r, err = filepath.Abs(r); err == nil {
				u.recipes = append(u.recipes, r)
			}
		}
	}
	return u
}

// Add takes what a step says of golden files beside the recipe in dir. The error is that of reading the contents or
// of keeping them; an update that must not be made is refused by Write.
func (u *Updates) Add(dir string, golden []Update) error {
	for _, g := range golden {
		if err := u.add(dir, g); err != nil {
			return fmt.Errorf("keep the new content of %s: %w", g.path, err)
		}
	}
	return nil
}

func (u *Updates) add(dir string, g Update) error {
	digest, spooled, err := u.keep(g)
	if err != nil {
		return err
	}
	at, refused := resolve(dir, g.path)
	if refused == nil && slices.ContainsFunc(strings.Split(at.name, "/"), isForeign) {
		refused = errors.New("what lies there is no golden file's: another program reads it")
	}
	if refused == nil && slices.Contains(u.recipes, filepath.Join(at.root, at.name)) {
		refused = errors.New("it is a recipe of this run")
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	old := u.files[at]
	if old == nil {
		u.files[at] = &update{
			digest: digest, pos: g.pos, shown: shown(filepath.Join(dir, g.path)), spooled: spooled, refused: refused,
		}
		return nil
	}
	if old.digest != digest && old.refused == nil {
		old.refused = fmt.Errorf("two contents for one file, from lines %d and %d of the recipe", old.pos.Line, g.pos.Line)
		if old.pos == g.pos {
			old.refused = fmt.Errorf("two contents for one file, from two cases or samples, by line %d of the recipe", g.pos.Line)
		}
	}
	switch {
	case old.spooled == "":
		old.spooled = spooled
	case spooled != "":
		return os.Remove(spooled)
	}
	return nil
}

// isForeign says whether a name is one whose content git, or sbxrun itself, carries out.
func isForeign(name string) bool {
	return strings.EqualFold(name, ".git") || name == ".sbxrun" || name == ".sbxrun.yaml"
}

// shown is a path as people write it: from the working directory if it lies below that.
func shown(path string) string {
	if cwd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(cwd, path); err == nil && filepath.IsLocal(rel) {
			return rel
		}
	}
	return path
}

// keep returns the digest of the content, and where it waits if it is to be written.
func (u *Updates) keep(g Update) (digest [sha256.Size]byte, spooled string, err error) {
	if !g.differs {
		digest, err = copyTo(io.Discard, g.content)
		return digest, "", err
	}
	f, err := os.CreateTemp(u.spool, "golden-*")
	if err != nil {
		return digest, "", err
	}
	digest, err = copyTo(f, g.content)
	if err := errors.Join(err, f.Close()); err != nil {
		return digest, "", errors.Join(err, os.Remove(f.Name()))
	}
	return digest, f.Name(), nil
}

func copyTo(w io.Writer, s Source) (digest [sha256.Size]byte, err error) {
	r, err := open(context.Background(), s)
	if err != nil {
		return digest, err
	}
	defer r.Close()
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(w, h), r)
	return [sha256.Size]byte(h.Sum(nil)), err
}

// resolve follows symbolic links, and refuses a file that is not below dir then.
func resolve(dir, name string) (target, error) {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return target{dir, name}, err
	}
	if root, err = filepath.Abs(root); err != nil {
		return target{dir, name}, err
	}
	as := target{root, filepath.Clean(name)}
	if !filepath.IsLocal(name) {
		return as, errors.New("it lies outside the recipe's folder")
	}
	// The file, or the parents of one that is new, may be links.
	missing := ""
	for path := filepath.Join(root, name); ; path = filepath.Dir(path) {
		resolved, err := filepath.EvalSymlinks(path)
		if errors.Is(err, fs.ErrNotExist) {
			if _, err := os.Lstat(path); err == nil {
				return as, fmt.Errorf("%s is a symbolic link to nothing", path)
			}
			missing = filepath.Join(filepath.Base(path), missing)
			continue
		}
		if err != nil {
			return as, err
		}
		rel, err := filepath.Rel(root, filepath.Join(resolved, missing))
		if err != nil || !filepath.IsLocal(rel) {
			return as, fmt.Errorf("a symbolic link leads out of the recipe's folder, to %s", filepath.Join(resolved, missing))
		}
		return target{root, rel}, nil
	}
}

// Write writes the collected files, all or none: nothing is written where one is refused or cannot be prepared. It
// returns the paths of what was written, sorted. The error has a line for each refused file.
func (u *Updates) Write() (written []string, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	defer u.clear()
	var refused []string
	var writes []target
	for at, f := range u.files {
		if f.spooled == "" {
			continue // nothing to write, so nothing to refuse
		}
		writes = append(writes, at)
		if f.refused != nil {
			refused = append(refused, fmt.Sprintf("%s: %v", f.shown, f.refused))
		}
	}
	if len(refused) > 0 {
		slices.Sort(refused)
		return nil, fmt.Errorf("--update wrote nothing: %s", strings.Join(refused, "\n"))
	}
	slices.SortFunc(writes, func(a, b target) int { return strings.Compare(u.files[a].shown, u.files[b].shown) })

	var folder goldenDir
	defer folder.close()
	var temps []string // those of writes that are not in place yet
	defer func() {
		for i, temp := range temps {
			if temp != "" && folder.enter(writes[i]) == nil {
				_ = folder.root.Remove(temp)
			}
		}
	}()
	for _, at := range writes {
		temp, err := u.prepare(at, &folder)
		if err != nil {
			return nil, fmt.Errorf("--update wrote nothing: %s: %w", u.files[at].shown, err)
		}
		temps = append(temps, temp)
	}
	for i, at := range writes {
		err := folder.enter(at)
		if err == nil {
			err = folder.root.Rename(temps[i], filepath.Base(at.name))
		}
		if err != nil {
			return written, fmt.Errorf("--update wrote %d of %d files: %s: %w", i, len(writes), u.files[at].shown, err)
		}
		temps[i] = ""
		written = append(written, u.files[at].shown)
	}
	return written, nil
}

// prepare writes the new content to a file beside its target, and returns that one's name.
func (u *Updates) prepare(at target, folder *goldenDir) (string, error) {
	if err := folder.enter(at); err != nil {
		return "", err
	}
	src, err := os.Open(u.files[at].spooled)
	if err != nil {
		return "", err
	}
	defer src.Close()
	p, err := renameio.NewPendingFile(filepath.Base(at.name),
		renameio.WithRoot(folder.root), renameio.WithPermissions(0o666), renameio.WithExistingPermissions())
	if err != nil {
		return "", err
	}
	// It is put in place once all are there, and not kept open until then: a run may have more than there are descriptors.
	_, err = io.Copy(p, src)
	if err == nil {
		err = p.Sync()
	}
	if err = errors.Join(err, p.File.Close()); err != nil {
		_ = p.Cleanup() // which says that it is closed
		return "", err
	}
	return filepath.Base(p.Name()), nil
}

// goldenDir is the opened folder of a golden file. It is opened through the recipe's folder as an os.Root, so that a link made
// since resolve leads nowhere.
type goldenDir struct {
	at   target
	root *os.Root // nil: none is open
}

// enter opens the folder of a file, unless it is open already, and closes the one before.
func (g *goldenDir) enter(file target) error {
	at := target{file.root, filepath.Dir(file.name)}
	if g.root != nil && g.at == at {
		return nil
	}
	g.close()
	root, err := os.OpenRoot(at.root)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.MkdirAll(at.name, 0o777); err != nil {
		return err
	}
	if g.root, err = root.OpenRoot(at.name); err != nil {
		g.root = nil
		return err
	}
	g.at = at
	return nil
}

func (g *goldenDir) close() {
	if g.root != nil {
		_ = g.root.Close()
		g.root = nil
	}
}

// clear removes the spooled contents.
func (u *Updates) clear() {
	for _, f := range u.files {
		if f.spooled != "" {
			_ = os.Remove(f.spooled)
		}
	}
	u.files = map[target]*update{}
}
