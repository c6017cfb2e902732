package shell

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// unpackScript unpacks stdin into the current directory; the checks stand before its last line.
const unpackScript = `LC_ALL=C
export LC_ALL
umask 022
bad() {
	printf '%s: %s\n' "$1" "$2" >&2
	exit 65
}
d() {
	[ ! -h "$1" ] || bad "$1" 'a symlink is in the way'
	[ -d "$1" ] || [ ! -e "$1" ] || bad "$1" 'a file is in the way of a directory'
}
f() {
	[ -h "$1" ] || [ ! -d "$1" ] || bad "$1" 'a directory is in its place'
}
command -v tar >/dev/null || exit 69
`

// flush unpacks what has been collected, and runs the script that sets modes. Where large is set its content follows.
func (b *sending) flush(ctx context.Context, large *tar.Header, content io.Reader, modes string) error {
	b.sent = true
	var stdin io.Reader
	var source *source
	if large == nil {
		if err := b.out.Close(); err != nil {
			return problem(sandbox.KindInvalid, "tar: %w", err)
		}
		stdin = bytes.NewReader(b.buf.Bytes())
	} else {
		source = newSource(content)
		padding := make([]byte, (512-large.Size%512)%512+1024)
		stdin = io.MultiReader(bytes.NewReader(b.buf.Bytes()), source, bytes.NewReader(padding))
	}
	script := unpackScript
	if dir := directory(b.dir); dir != "" {
		script += "mkdir -p -- " + quote(dir) + " && cd -- " + quote(dir) + " || exit 66\n"
	}
	script += b.checks.String() + "tar -x -p -o -f - || exit\n" + b.after.String() + modes
	limit := transferTime
	if large != nil {
		limit += time.Duration(large.Size/transferRate) * time.Second
	}
	var said bytes.Buffer
	res, err := b.s.exec(ctx, sandbox.Command{
		Argv: []string{"sh"}, Script: []byte(script), Stdin: stdin, OutputLimit: 64 << 10, Timeout: limit,
	}, nil, &said)
	if source != nil {
		if cause := source.end(); cause != nil {
			return problem(sandbox.KindInvalid, "tar: %q: %w", large.Name, cause)
		}
	}
	if err == nil {
		err = b.s.unpacked(res, said.String())
	}
	b.begin()
	return err
}

// unpacked says what became of an unpacking.
func (s *Shell) unpacked(res sandbox.Result, said string) error {
	said, _, _ = strings.Cut(strings.TrimSpace(said), "\n")
	said = cut(said)
	switch {
	case res.SandboxDied:
		return problem(sandbox.KindLost, "the sandbox's container was restarted while files were unpacked")
	case res.Exit == 0:
		return nil
	case res.Exit == 69:
		return s.lacking("tar", ", which sending files needs")
	case strings.Contains(said, "No space left") || strings.Contains(said, "quota exceeded") || res.Limit == sandbox.LimitDisk:
		return problem(sandbox.KindNoSpace, "%s", said)
	case said == "":
		said = fmt.Sprintf("unpacking ended with status %d", res.Exit)
	}
	return problem(sandbox.KindInvalid, "%s", said)
}
