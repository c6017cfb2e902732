package executor

import (
	"bytes"
	"context"
	"fmt"
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
	found, err := f.folders(ctx, append(dirs, "."))
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
func (f *fetcher) folders(ctx context.Context, dirs []string) ([]string, error) {
	var out bytes.Buffer
	var words lastWords
	res, err := f.box.exec(ctx, sandbox.Command{
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
