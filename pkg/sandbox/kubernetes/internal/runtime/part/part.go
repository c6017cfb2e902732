// Package part stores a piece of a file in a container through the standard input of a command, for the runtimes that
// have no upload of their own that fits. What a piece is for belongs in the shell protocol.
package part

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"unicode"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// The statuses with which the script says what went wrong; none is one that a shell or a signal gives.
const (
	noFolder = 71
	notSaved = 72
	cutShort = 73
)

// script stores its input as $1 when it is exactly $2 bytes: a connection that breaks looks like the end of the input,
// and a piece that is half a piece must never appear under its name. It prints the path, which is below the folder that the
// shell protocol keeps its state in, so that pieces are moved from there, not copied, and go when that goes.
const script = `umask 077
for d in "${TMPDIR:-/tmp}" /tmp /var/tmp /dev/shm "$HOME"; do
	d=$d/.sbxrun/parts
	mkdir -p "$d" 2>/dev/null && cd "$d" && [ -w . ] || continue
	t=.$1.$$
	cat >"$t" && n=$(wc -c <"$t") || { rm -f "$t"; exit 72; }
	[ $n -eq $2 ] || { rm -f "$t"; exit 73; }
	mv -f "$t" "$1" || { rm -f "$t"; exit 72; }
	printf '%s\n' "$PWD/$1"
	exit 0
done
echo "no folder for temporary files can be written: TMPDIR, /tmp, /var/tmp, /dev/shm, HOME" >&2
exit 71`

// Command is the command whose input is the piece: size bytes that are stored under name, which is [a-z0-9-]{1,60}. The same
// name again replaces it, in one step.
func Command(name string, size int) []string {
	return []string{"sh", "-c", script, "sh", name, strconv.Itoa(size)}
}

// Path reads the answer of Command: the absolute path of the piece. An error that is a *sandbox.Error is final; another
// says that the piece did not arrive whole and may be sent again.
func Path(exit int, stdout, stderr []byte) (string, error) {
	final := func(kind sandbox.Kind, err error) error {
		return &sandbox.Error{Op: "send", Kind: kind, Err: err}
	}
	said := strings.TrimSpace(string(stderr))
	switch {
	case exit > 128:
		return "", fmt.Errorf("storing a file in the container was ended by signal %d", exit-128)
	case exit == 0 && len(stdout) == 0:
		return "", errors.New("storing a file in the container got no answer")
	}
	switch exit {
	case 0:
		p := strings.TrimSuffix(string(stdout), "\n")
		if !path.IsAbs(p) || len(p) > longestPath || strings.ContainsFunc(p, unicode.IsControl) { // code in the container may have replaced sh
			return "", final(sandbox.KindInternal, fmt.Errorf("storing a file in the container answered %q instead of a path", Cut(p)))
		}
		return p, nil
	case cutShort:
		return "", errors.New("the connection ended in the middle of a file")
	case noFolder:
		return "", final(sandbox.KindUnsupported, fmt.Errorf("%s; mount an emptyDir at /tmp", Cut(said)))
	case notSaved:
		if strings.Contains(said, "No space left") || strings.Contains(said, "uota exceeded") {
			return "", final(sandbox.KindNoSpace, errors.New(Cut(said)))
		}
	case 127:
		return "", final(sandbox.KindUnsupported, fmt.Errorf("the image lacks a program that files need (sh, cat, mkdir, mv, rm, wc): %s", Cut(said)))
	}
	return "", final(sandbox.KindInternal, fmt.Errorf("storing a file in the container ended with status %d: %s", exit, Cut(said)))
}

// longestPath is Linux's PATH_MAX.
const longestPath = 4096

// Cut makes of a message that a container wrote one that people can read: its beginning, without what would command
// their terminal.
func Cut(s string) string {
	const most = 500
	more := ""
	if len(s) > most {
		s, more = s[:most], "..."
	}
	return strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "")) + more
}
