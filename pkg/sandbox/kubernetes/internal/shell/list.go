package shell

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// found is a file of the sandbox, as it was when the list was made.
type found struct {
	absolute bool
	mode     fs.FileMode
	size     int64
	time     time.Time
}

// What a list may have, whatever the sandbox says: its memory is ours.
const (
	maxFound      = 1 << 20   // files
	maxFoundNames = 16 << 20  // bytes of their names together
	maxListed     = 256 << 20 // bytes of what is looked through for them
	maxSeconds    = 1<<33 - 1 // of a file's time: more than that a tar's header cannot hold in each format
	maxRecord     = 8 << 10   // bytes of one of them; the kernel takes names of up to 4 KiB
)

// listing collects the files that globs match.
type listing struct {
	s     *Shell
	files map[string]found // by name in the tar
	names int              // bytes
}

// listScript prints a line for each file below a base: its mark, type and mode in hexadecimal, size, time and name.
const listScript = `LC_ALL=C
export LC_ALL
for c in find stat; do
	command -v $c >/dev/null || { echo $c >&2; exit 69; }
done
l() {
	find "$2" $1 \( -path ./proc -o -path '*/.sbxrun/x' \) -prune -o -exec stat -c "$T %f %s %Y %n" {} +
} 2>/dev/null
`

// list adds what one glob matches. A directory that matches is listed with all that is in it.
func (l *listing) list(ctx context.Context, g glob) error {
	var dirs []string
	names := 0
	err := l.walk(ctx, g.absolute, []string{g.base}, g.depth, func(name string, f found) error {
		if name == "." || !g.matches(name) {
			return nil
		}
		if g.depth >= 0 && g.rest != "" && f.mode.IsDir() && strings.Count(name, "/") == g.level() {
			if names += len(name) + 16; names > MaxPart { // the next script would have more
				return problem(sandbox.KindInvalid, "the names of the folders that match are longer than %d bytes together", MaxPart)
			}
			dirs = append(dirs, name)
		}
		return l.add(name, f)
	})
	if err != nil || len(dirs) == 0 {
		return err
	}
	return l.walk(ctx, g.absolute, dirs, -1, l.add)
}

// level is how many slashes the deepest names have that a walk to g.depth reaches.
func (g glob) level() int {
	n := g.depth - 1
	if g.base != "" {
		n += strings.Count(g.base, "/") + 1
	}
	return n
}

func (l *listing) add(name string, f found) error {
	if _, there := l.files[name]; !there {
		if l.names += len(name); l.names > maxFoundNames {
			return problem(sandbox.KindInvalid, "the names of the files are longer than %d bytes together", maxFoundNames)
		}
		if len(l.files) == maxFound {
			return problem(sandbox.KindInvalid, "there are more than %d files", maxFound)
		}
		l.files[name] = f
	}
	return nil
}

// walk calls each for every file at or below the bases, through no symlink.
func (l *listing) walk(ctx context.Context, absolute bool, bases []string, depth int, each func(string, found) error) error {
	var script strings.Builder
	mark := token()
	script.WriteString("T=" + mark + "\n" + listScript)
	limit := "''"
	if depth >= 0 {
		limit = fmt.Sprintf("'-maxdepth %d'", depth)
	}
	for _, base := range bases {
		base = below(base)
		for i := 2; i < len(base); i++ {
			if base[i] == '/' {
				script.WriteString("[ -h " + quote(base[:i]) + " ] || ")
			}
		}
		script.WriteString("l " + limit + " " + quote(base) + "\n")
	}
	script.WriteString("exit 0\n")
	dir := ""
	if absolute {
		dir = "/"
	}
	p := &listParser{mark: []byte(mark), each: func(name string, f found) error {
		f.absolute = absolute
		return each(name, f)
	}}
	var said bytes.Buffer
	res, err := l.s.exec(ctx, sandbox.Command{Argv: []string{"sh"}, Script: []byte(script.String()), Dir: dir, OutputLimit: maxListed, Timeout: transferTime}, p, &said)
	switch {
	case p.err != nil:
		return p.err
	case err != nil:
		return err
	case res.Exit == 69:
		return l.s.lacking(cut(strings.TrimSpace(said.String())), ", which receiving files needs")
	case res.Limit == sandbox.LimitOutput:
		return problem(sandbox.KindInvalid, "the list of the files is longer than %d bytes", maxListed)
	case res.SandboxDied:
		return errRestarted
	case res.Exit != 0:
		return problem(sandbox.KindInvalid, "listing files ended with status %d", res.Exit)
	}
	return p.end()
}

// listParser takes a list apart. A name may hold line ends: a record goes on to the next mark, which nobody can guess.
type listParser struct {
	mark []byte
	each func(string, found) error
	rest []byte
	err  error
}

func (p *listParser) Write(b []byte) (int, error) {
	p.rest = append(p.rest, b...)
	for p.err == nil {
		next := bytes.Index(p.rest[min(1, len(p.rest)):], append([]byte("\n"), p.mark...))
		if next < 0 {
			p.long(len(p.rest))
			break
		}
		p.record(p.rest[:next+1])
		p.rest = p.rest[next+2:]
	}
	return len(b), p.err
}

func (p *listParser) end() error {
	if p.err == nil && len(p.rest) > 0 {
		p.record(bytes.TrimSuffix(p.rest, []byte("\n")))
	}
	return p.err
}

// long refuses a record of so many bytes.
func (p *listParser) long(n int) bool {
	if n > maxRecord {
		p.err = problem(sandbox.KindInvalid, "the list of the files has a name longer than %d bytes", maxRecord)
	}
	return n > maxRecord
}

func (p *listParser) record(b []byte) {
	if p.long(len(b)) {
		return
	}
	f := strings.SplitN(string(b), " ", 5)
	if len(f) != 5 || f[0] != string(p.mark) {
		return // not a record: a program that prints something else is not the one we know
	}
	mode, err1 := strconv.ParseUint(f[1], 16, 32)
	size, err2 := strconv.ParseInt(f[2], 10, 64)
	seconds, err3 := strconv.ParseInt(f[3], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || size < 0 || strings.ContainsRune(f[4], 0) {
		return
	}
	name := strings.TrimPrefix(path.Clean("/"+f[4]), "/")
	if name == "" {
		name = "."
	}
	p.err = p.each(name, found{mode: fileMode(uint32(mode)), size: size, time: time.Unix(min(max(seconds, 0), maxSeconds), 0)})
}

// fileMode translates the kernel's mode.
func fileMode(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & 0o170000 {
	case 0o100000:
	case 0o040000:
		mode |= fs.ModeDir
	case 0o120000:
		mode |= fs.ModeSymlink
	case 0o010000:
		mode |= fs.ModeNamedPipe
	case 0o060000:
		mode |= fs.ModeDevice
	case 0o020000:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	default:
		mode |= fs.ModeSocket
	}
	return mode
}
