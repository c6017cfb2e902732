package executor

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/sbxrun/sbxrun/internal/check"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// ways are paths to look at next: straight ones as they are, winding ones once it is known where their folders are, which
// may be symbolic links.
type ways struct{ straight, winding places }

// link adds where the symbolic link at a path leads, which was reached through folders alone.
func (w ways) link(at, target string, asked []string) {
	dir := path.Dir(at)
	switch {
	case path.IsAbs(target):
		w.winding.add(target, asked...)
	case target != "." && target != ".." && !strings.Contains(target, "/"):
		w.straight.add(path.Join(dir, target), asked...)
	default: // not cleaned: what is before a ".." may be a link too
		w.winding.add(strings.TrimSuffix(dir, "/")+"/"+target, asked...)
	}
}

// straighten makes winding ways straight. None is left of those that lead nowhere, or to what is known to be absent; a path
// that can only be a folder needs no further look.
func (f *fetcher) straighten(ctx context.Context, w ways, absent map[string]bool, got map[string]check.Fetched) error {
	if len(w.winding) == 0 {
		return nil
	}
	var paths, dirs []string
	for p := range w.winding {
		dir, _ := split(p)
		paths, dirs = append(paths, p), append(dirs, dir)
	}
	found, err := f.box.folders(ctx, append(dirs, "."))
	if err != nil || found == nil {
		return err
	}
	workspace := found[len(paths)]
	for i, p := range paths {
		_, name := split(p)
		at := path.Join(found[i], name)
		switch {
		case found[i] == "": // there is no such folder
		case name == "":
			for _, asked := range w.winding[p] {
				got[asked] = check.Fetched{Type: fs.ModeDir}
			}
		case absent[p] && (at == p || at == path.Join(workspace, p)): // no link was on the way
		default:
			w.straight.add(at, w.winding[p]...)
		}
	}
	return nil
}

// split returns the folder that a path goes through and the name in it; no name where the path can only be a folder.
func split(p string) (dir, name string) {
	dir, name = path.Split(p)
	if name == "." || name == ".." {
		dir, name = p, ""
	}
	if dir == "" {
		dir = "."
	}
	return dir, name
}

// follow opens a stream of what is at a path, which may be a symbolic link, or go through one, and returns where that is
// through no link. Where nothing is, the stream is empty.
func (b *box) follow(ctx context.Context, p string) (r *tarReader, at string, err error) {
	if r, err = b.receive(ctx, p); err != nil {
		return nil, "", err
	}
	h, err := r.peek()
	if err == nil && (h.Typeflag != tar.TypeSymlink || path.Clean(h.Name) != streamName(p)) {
		return r, p, nil
	}
	r.Close()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", err
	}
	if at, err = b.real(ctx, p); err != nil {
		return nil, "", err
	}
	var globs []string
	if at != "" {
		globs = []string{sandbox.EscapeGlob(at)}
	}
	r, err = b.receive(ctx, globs...)
	return r, at, err
}

// real returns where a path is, through no symbolic link: relative to the workspace for what is in it. Empty: nothing is
// there.
func (b *box) real(ctx context.Context, p string) (string, error) {
	at := path.Clean(p)
	for range maxLinks {
		h, err := b.look(ctx, at)
		if err != nil {
			return "", err
		}
		switch {
		case h == nil && !strings.Contains(strings.TrimPrefix(at, "/"), "/"):
			return "", nil
		case h == nil: // or a folder on the way is a link
		case h.Typeflag != tar.TypeSymlink:
			return at, nil
		case path.IsAbs(h.Linkname):
			p = h.Linkname
		default: // not cleaned: what is before a ".." may be a link too
			p = path.Dir(at) + "/" + h.Linkname
		}
		next, isDir, err := b.straight(ctx, p)
		if isDir || err != nil {
			return next, err
		}
		if next == "" || next == at {
			return "", nil
		}
		at = next
	}
	return "", nil
}

// look returns what is at a path through no symbolic link, nil where nothing is.
func (b *box) look(ctx context.Context, at string) (*tar.Header, error) {
	r, err := b.receive(ctx, sandbox.EscapeGlob(at))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	h, err := r.next()
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	return h, err
}

// straight returns a path without symbolic links on the way, and whether it is known to be a folder.
func (b *box) straight(ctx context.Context, p string) (at string, isDir bool, err error) {
	dir, name := split(p)
	found, err := b.folders(ctx, []string{p, dir, "."})
	if err != nil || found == nil && climbs(p) != nil {
		return "", false, err
	}
	if found == nil {
		return path.Clean(p), false, nil
	}
	workspace := found[2]
	switch {
	case found[0] != "":
		at, isDir = found[0], true
	case found[1] == "" || name == "":
		return "", false, nil
	default:
		at = path.Join(found[1], name)
	}
	if rel, ok := strings.CutPrefix(at+"/", strings.TrimSuffix(workspace, "/")+"/"); ok && workspace != "" {
		at = path.Clean(rel)
	}
	return at, isDir, nil
}

// findFolders prints, for each of its arguments, the folder without symbolic links on the way, or nothing where there is
// none, and a NUL. It needs what every shell has built in.
const findFolders = `unset CDPATH
for d do
	(cd -P -- "$d" 2>/dev/null && printf '%s\0' "$PWD") || printf '\0'
done`

// findTime is how long that may take.
const findTime = 10 * time.Second

// folders asks the sandbox where folders really are: only its kernel knows all of the ways there. An empty one is not
// there. Without a shell there, nobody knows: it returns nil.
func (b *box) folders(ctx context.Context, dirs []string) ([]string, error) {
	var out bytes.Buffer
	var words lastWords
	res, err := b.exec(ctx, sandbox.Command{
		Argv: append([]string{"sh", "-c", findFolders, "sh"}, dirs...), Timeout: findTime, OutputLimit: probeOutput,
	}, &out, &words)
	if err != nil {
		return nil, err
	}
	if out.Len() == 0 && (res.Exit == 126 || res.Exit == 127) {
		return nil, nil
	}
	found := strings.Split(out.String(), "\x00")
	if res.Exit != 0 || len(found) != len(dirs)+1 {
		why := fmt.Sprintf("a shell that was to tell ended with exit status %d", res.Exit)
		if text := words.text(); text != "" {
			why += ": " + text
		}
		return nil, unfit("it is not known where %s leads: %s", dirs[0], why)
	}
	return found[:len(dirs)], nil
}
