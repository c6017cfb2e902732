package executor

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// movement is what is to be streamed from one sandbox of the sample into another.
type movement struct {
	recipe.File
	src, dst string
	mode     uint32
}

// transfer streams files from one sandbox of the sample into another.
func (t *try) transfer(ctx context.Context, f recipe.File, to *box) outcome {
	m := movement{File: f}
	var err error
	m.src, err = pathText(f.Src, t.env.names)
	if err == nil {
		m.dst, err = pathText(f.Dst, t.env.names)
	}
	if err == nil {
		m.mode, err = fileMode(f, t.env.names)
	}
	if err != nil {
		return failed(event.ReasonAssertion, "stage files from %s: %v", f.From, err)
	}
	if err := placeable(m.dst); err != nil {
		return failed(event.ReasonArtifact, "stage files from %s: dst: %v", f.From, err)
	}
	if m.src == "" { // which would be the whole workspace
		return t.nothing(m, fmt.Sprintf("take files from sandbox %s: src is empty", m.From))
	}
	return t.move(ctx, m, to)
}

// nothing is the outcome of a movement that moved nothing.
func (t *try) nothing(m movement, message string) outcome {
	optional, err := truth(m.Optional, t.env.names)
	switch {
	case err != nil:
		return failed(event.ReasonAssertion, "stage files from %s: optional: %v", m.From, err)
	case !optional:
		return failed(event.ReasonArtifact, "%s", message)
	}
	return passed()
}

func (t *try) move(ctx context.Context, m movement, to *box) outcome {
	index := t.a.run.layout.recipe.SandboxIndex(m.From)
	from := t.a.boxes[index]
	what := fmt.Sprintf("take %s from sandbox %s", m.src, m.From)
	if from.gone() {
		return failed(event.ReasonArtifact, "%s: that sandbox is gone", what)
	}
	if o := t.a.firstUse(ctx, index); o.verdict != event.Passed {
		return o
	}
	name := renamer{dst: m.dst, base: path.Base(path.Clean(m.src)), isGlob: isGlob(m.src)}
	r, at, err := from.open(ctx, m.src)
	if err != nil {
		return refused(ctx, from, what, event.ReasonStage, err)
	}
	name.src = streamName(at)
	defer r.Close()
	dir := "."
	if path.IsAbs(m.dst) {
		dir = "/"
	}
	count := 0
	to.gives()
	readErr, sendErr := pipe(func(w io.Writer) (err error) {
		count, err = retar(w, r, name, m.mode)
		return err
	}, func(r io.Reader) error { return to.sb.Send(ctx, dir, r) })
	switch {
	case readErr != nil:
		return refused(ctx, from, what, event.ReasonStage, readErr)
	case sendErr != nil:
		return refused(ctx, to, "stage files", event.ReasonStage, sendErr)
	case count == 0:
		return t.nothing(m, what+": there is nothing of that name")
	}
	return passed()
}

// open opens a stream of what src stands for in a sandbox, and says where that is; of a glob, the fixed part.
func (b *box) open(ctx context.Context, src string) (*tarReader, string, error) {
	if err := climbs(src); err != nil {
		return nil, "", err
	}
	if !isGlob(src) {
		return b.follow(ctx, src)
	}
	r, err := b.receive(ctx, src)
	fixed, _ := doublestar.SplitPattern(path.Clean(src))
	return r, fixed, err
}

// retar copies a tar with other names and returns how many entries that were.
func retar(w io.Writer, from *tarReader, name renamer, mode uint32) (int, error) {
	to := tar.NewWriter(w)
	for count := 0; ; count++ {
		h, err := from.next()
		if errors.Is(err, io.EOF) {
			return count, to.Close()
		}
		if err != nil {
			return count, err
		}
		c := &tar.Header{Typeflag: h.Typeflag, Mode: h.Mode & 0o777, Size: h.Size, ModTime: h.ModTime, Format: tar.FormatPAX}
		switch h.Typeflag {
		case tar.TypeReg:
			c.Mode = int64(modeOr(mode, h.FileInfo().Mode().Perm()))
		case tar.TypeDir:
		case tar.TypeSymlink:
			c.Linkname = h.Linkname
		default:
			return count, unfit("%s is %s and not a file or a folder", h.Name, describeType(h.Typeflag))
		}
		if c.Name = name.of(h); c.Name == "" {
			continue // the folder itself, whose content goes to one that is there
		}
		if err := to.WriteHeader(c); err != nil {
			return count, err
		}
		if _, err := io.Copy(to, from); err != nil {
			return count, err
		}
	}
}

// renamer gives what comes out of one sandbox its name in another: a file goes to dst, a folder's content into dst,
// and what a glob matches keeps the path after its fixed part.
type renamer struct {
	src    string // as Receive names it; the fixed part of a glob
	isGlob bool
	base   string // what was asked for is called
	dst    string
}

func (n renamer) of(h *tar.Header) string {
	name := path.Clean("/" + h.Name)[1:]
	rest := within(n.src, name)
	var to string
	switch {
	case n.isGlob:
		to = path.Join(n.dst, rest)
	case rest == "" && h.Typeflag != tar.TypeDir:
		to = fileDst(n.dst, n.base)
	default:
		to = path.Join(defaultTo(n.dst, n.base), rest)
	}
	to = strings.TrimPrefix(path.Clean(to), "/")
	if to == "." {
		return ""
	}
	return to
}

// within is the rest of a name below what dir, as Receive names it, stands for; empty for dir itself.
func within(dir, name string) string {
	if dir == "." || dir == "" {
		return name
	}
	return strings.TrimPrefix(strings.TrimPrefix(name, dir), "/")
}

func describeType(flag byte) string {
	switch flag {
	case tar.TypeFifo:
		return "a FIFO or a socket"
	case tar.TypeChar, tar.TypeBlock:
		return "a device"
	case tar.TypeLink:
		return "a hard link"
	case tar.TypeDir:
		return "a folder"
	case tar.TypeSymlink:
		return "a symbolic link"
	}
	return "a socket or something else"
}
