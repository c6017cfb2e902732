package shell

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// What is unpacked by one command in the sandbox. A larger file is a batch of its own and is streamed.
const (
	batchBytes   = 4 << 20
	batchEntries = 5000
	batchNames   = 1 << 20
)

// Send unpacks a tar stream: see sandbox.Sandbox. The stream is read and written anew here, so that names, types and
// formats are those that every tar program takes; a blocked Read of the stream blocks Send.
func (s *Shell) Send(ctx context.Context, dir string, stream io.Reader) error {
	if err := s.check(ctx, "send"); err != nil {
		return err
	}
	ctx, _, end := s.scope(ctx)
	defer end()
	b := &sending{s: s, dir: dir}
	err := b.unpack(ctx, tar.NewReader(&guarded{ctx: ctx, s: s, r: stream}))
	return s.wrap(ctx, "send", err)
}

// guarded is a stream that fails once the call or the sandbox has ended.
type guarded struct {
	ctx context.Context
	s   *Shell
	r   io.Reader
}

func (g *guarded) Read(b []byte) (int, error) {
	if err := g.s.gone("send"); err != nil {
		return 0, err
	}
	if g.ctx.Err() != nil {
		return 0, g.ctx.Err()
	}
	return g.r.Read(b)
}

// sending is one Send.
type sending struct {
	s       *Shell
	dir     string
	entries int
	names   int // bytes
	checks  strings.Builder
	after   strings.Builder // sets the modes of files that the umask may have cut
	checked map[string]bool // directories on the way
	buf     bytes.Buffer
	out     *tar.Writer
	sent    bool

	folders []*tar.Header // whose modes are set last, since they forbid to make what is in them
}

// maxNames bounds the memory that names take.
const maxNames = 64 << 20

func (b *sending) unpack(ctx context.Context, in *tar.Reader) error {
	b.begin()
	total := 0
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return problem(sandbox.KindInvalid, "tar: %w", err)
		}
		clean, err := normal(h)
		if err != nil {
			return err
		}
		if clean.Typeflag == tar.TypeDir && clean.Mode&0o300 != 0o300 {
			if total += len(clean.Name) + 200; total > maxNames {
				return problem(sandbox.KindInvalid, "tar: too many directories that may not be written to")
			}
			last := *clean
			b.folders = append(b.folders, &last)
			clean.Mode |= 0o700
		}
		if clean.Size > batchBytes {
			err = b.large(ctx, clean, in)
		} else {
			err = b.small(ctx, clean, in)
		}
		if err != nil {
			return err
		}
	}
	if b.entries > 0 || len(b.folders) > 0 || !b.sent { // an empty stream makes the directory
		return b.flush(ctx, nil, nil, b.modes())
	}
	return nil
}

// modes is the script that sets the modes of folders, those within others first.
func (b *sending) modes() string {
	var script strings.Builder
	for i, last := len(b.folders)-1, ""; i >= 0; i-- {
		mode := fmt.Sprintf("%o", b.folders[i].Mode)
		if mode != last || i%500 == 0 {
			script.WriteString("\nchmod " + mode + " --")
		}
		script.WriteString(" " + quote(b.folders[i].Name))
		last = mode
	}
	script.WriteString("\n")
	return script.String()
}

// normal returns an entry as it is written to the sandbox's tar program.
func normal(h *tar.Header) (*tar.Header, error) {
	invalid := func(why string) (*tar.Header, error) {
		return nil, problem(sandbox.KindInvalid, "tar: %q: %s", h.Name, why)
	}
	if strings.ContainsRune(h.Name, 0) || strings.ContainsRune(h.Linkname, 0) {
		return invalid("a name with a zero byte")
	}
	// The GNU format takes any bytes and lengths, and both GNU's and busybox's programs know it.
	clean := &tar.Header{Typeflag: h.Typeflag, Name: below(h.Name), Mode: h.Mode & 0o777, Format: tar.FormatGNU}
	if !h.ModTime.IsZero() && h.ModTime.Unix() > 0 {
		clean.ModTime = h.ModTime
	}
	switch h.Typeflag {
	case tar.TypeReg:
		clean.Size = h.Size
	case tar.TypeDir:
	case tar.TypeSymlink:
		clean.Linkname = h.Linkname
	case tar.TypeLink:
		clean.Linkname = below(h.Linkname)
	default:
		return invalid(fmt.Sprintf("an entry of type %q cannot be sent", h.Typeflag))
	}
	if clean.Name == "." && h.Typeflag != tar.TypeDir {
		return invalid("not a name")
	}
	return clean, nil
}

// below turns a name of a tar into one below the directory it is unpacked to.
func below(name string) string {
	if name = strings.TrimPrefix(path.Clean("/"+name), "/"); name == "" {
		return "."
	}
	return "./" + name
}

func (b *sending) begin() {
	b.entries, b.names, b.checked = 0, 0, map[string]bool{}
	b.checks.Reset()
	b.after.Reset()
	b.buf.Reset()
	b.out = tar.NewWriter(&b.buf)
}

// add writes an entry's header, and what has to hold in the sandbox before the entry is unpacked.
func (b *sending) add(h *tar.Header) error {
	b.entries++
	b.names += len(h.Name) + len(h.Linkname)
	for i := 2; i < len(h.Name); i++ {
		if h.Name[i] == '/' {
			b.onTheWay(h.Name[:i])
		}
	}
	if h.Typeflag == tar.TypeDir {
		b.onTheWay(h.Name)
	} else {
		b.checks.WriteString("f " + quote(h.Name) + "\n")
	}
	if h.Mode&0o022 != 0 && (h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeDir) { // busybox's tar heeds the umask
		fmt.Fprintf(&b.after, "chmod %o %s || exit\n", h.Mode, quote(h.Name))
	}
	if err := b.out.WriteHeader(h); err != nil {
		return problem(sandbox.KindInvalid, "tar: %q: %w", h.Name, err)
	}
	return nil
}

func (b *sending) onTheWay(dir string) {
	if dir != "." && !b.checked[dir] {
		b.checked[dir] = true
		b.checks.WriteString("d " + quote(dir) + "\n")
	}
}

func (b *sending) small(ctx context.Context, h *tar.Header, content io.Reader) error {
	if b.entries > 0 && (b.buf.Len()+int(h.Size) > batchBytes || b.entries >= batchEntries || b.names > batchNames) {
		if err := b.flush(ctx, nil, nil, ""); err != nil {
			return err
		}
	}
	if err := b.add(h); err != nil {
		return err
	}
	if h.Size > 0 {
		if _, err := io.CopyN(b.out, content, h.Size); err != nil {
			return problem(sandbox.KindInvalid, "tar: %q: %w", h.Name, err)
		}
	}
	return nil
}

func (b *sending) large(ctx context.Context, h *tar.Header, content io.Reader) error {
	if b.entries > 0 {
		if err := b.flush(ctx, nil, nil, ""); err != nil {
			return err
		}
	}
	if err := b.add(h); err != nil {
		return err
	}
	return b.flush(ctx, h, content, "")
}
