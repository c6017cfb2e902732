package shell

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"strings"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// What one tar program in the sandbox is asked for; larger files come in pieces.
const (
	fetchBytes   = 2 << 20
	fetchEntries = 1000
	fetchNames   = 48 << 10
	smallFile    = 1 << 20
	packedBytes  = 3 * fetchBytes // more is cut: files have grown meanwhile
	// fewFiles are fetched without a tar program, with a request for each.
	fewFiles = 2
)

// fetcher writes the content of listed files into a tar.
type fetcher struct {
	s     *Shell
	out   *tar.Writer
	files map[string]found
	epoch string
}

func (f *fetcher) run(ctx context.Context, names []string) error {
	for len(names) > 0 {
		n := f.batch(names)
		small, err := f.tar(ctx, names[:n])
		if err != nil {
			return err
		}
		for _, name := range names[:n] {
			if err := f.write(ctx, name, small); err != nil {
				return err
			}
		}
		names = names[n:]
	}
	return nil
}

// batch says how many names are done together: they are below the same folder, and a tar of them is not too large.
func (f *fetcher) batch(names []string) int {
	size, length := int64(0), 0
	for i, name := range names {
		file := f.files[name]
		if f.byTar(file) {
			size += file.size + 1024
			length += len(name) + 8
		}
		if i > 0 && (i == fetchEntries || size > fetchBytes || length > fetchNames || file.absolute != f.files[names[0]].absolute) {
			return i
		}
	}
	return len(names)
}

// byTar says whether a tar program is asked for a file.
func (f *fetcher) byTar(file found) bool {
	return file.mode.IsRegular() && file.size <= smallFile || file.mode.Type() == fs.ModeSymlink
}

// entry is what a tar program said of a file.
type entry struct {
	*tar.Header
	content []byte
}

// tar has the small files and symlinks packed. What is missing in the result has changed, or cannot be read.
func (f *fetcher) tar(ctx context.Context, names []string) (map[string]entry, error) {
	var asked []string
	links := 0
	for _, name := range names {
		if file := f.files[name]; f.byTar(file) {
			asked = append(asked, quote("./"+name))
			if !file.mode.IsRegular() {
				links++
			}
		}
	}
	if links == 0 && len(asked) <= fewFiles {
		return nil, nil
	}
	script := "LC_ALL=C\nexport LC_ALL\ncommand -v tar >/dev/null || exit 69\nu=\ncase $(tar --version 2>/dev/null) in *GNU*) u=--no-unquote ;; esac\n" +
		"exec tar -c -f - $u " + strings.Join(asked, " ") + "\n"
	dir := ""
	if f.files[names[0]].absolute {
		dir = "/"
	}
	var packed bytes.Buffer
	res, err := f.s.exec(ctx, sandbox.Command{Argv: []string{"sh"}, Script: []byte(script), Dir: dir, OutputLimit: packedBytes, Timeout: transferTime}, &packed, nil)
	switch {
	case err != nil:
		return nil, err
	case res.SandboxDied:
		return nil, errRestarted
	case res.Exit == 69:
		return nil, f.s.lacking("tar", ", which receiving files needs")
	}
	return untar(&packed), nil
}

// untar reads as much of a tar as there is. A hard link gets the content of what it is linked to. All contents together
// are bounded, since a header may say that a few bytes are a sparse file of many.
func untar(r io.Reader) map[string]entry {
	entries := map[string]entry{}
	left := int64(packedBytes)
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if err != nil {
			return entries
		}
		content, err := io.ReadAll(io.LimitReader(in, left+1))
		if left -= int64(len(content)); err != nil || left < 0 {
			return entries
		}
		name := strings.TrimPrefix(below(h.Name), "./")
		if h.Typeflag == tar.TypeLink {
			target, there := entries[strings.TrimPrefix(below(h.Linkname), "./")]
			if !there {
				continue
			}
			h.Typeflag, h.Size, content = target.Typeflag, target.Size, target.content
			h.Linkname = target.Linkname
		}
		entries[name] = entry{h, content}
	}
}

// write writes one file.
func (f *fetcher) write(ctx context.Context, name string, small map[string]entry) error {
	file := f.files[name]
	h := &tar.Header{Name: name, Mode: int64(file.mode.Perm()), ModTime: file.time, Format: tar.FormatPAX}
	switch file.mode.Type() {
	case fs.ModeDir:
		h.Typeflag = tar.TypeDir
		h.Name += "/"
	case fs.ModeDevice:
		h.Typeflag = tar.TypeBlock
	case fs.ModeDevice | fs.ModeCharDevice:
		h.Typeflag = tar.TypeChar
	case fs.ModeNamedPipe, fs.ModeSocket: // a socket has no type of its own in a tar
		h.Typeflag = tar.TypeFifo
	default:
		e, there := small[name]
		switch {
		case there && (e.Typeflag == tar.TypeReg || e.Typeflag == tar.TypeSymlink):
			h.Typeflag, h.Linkname, h.Size = e.Typeflag, e.Linkname, int64(len(e.content))
			if err := f.header(h); err != nil {
				return err
			}
			_, err := f.out.Write(e.content)
			return err
		case file.mode.IsRegular():
			h.Typeflag, h.Size = tar.TypeReg, file.size
			return f.pieces(ctx, h, file)
		}
		return nil // gone, or something else by now
	}
	return f.header(h)
}

func (f *fetcher) header(h *tar.Header) error {
	if err := f.out.WriteHeader(h); err != nil {
		return problem(sandbox.KindInvalid, "%q: %w", h.Name, err)
	}
	return nil
}

// pieces writes a regular file piece by piece, and asks for one ahead. One that becomes shorter is filled with zeros.
func (f *fetcher) pieces(ctx context.Context, h *tar.Header, file found) error {
	ctx, cancel := context.WithCancel(ctx)
	type answer struct {
		data []byte
		full bool
		err  error
	}
	ask := func(at int64) chan answer {
		c := make(chan answer, 1)
		go func() {
			data, full, err := f.piece(ctx, h.Name, file, at/block)
			c <- answer{data, full, err}
		}()
		return c
	}
	next := ask(0)
	defer func() { // nothing of it goes on afterwards
		cancel()
		if next != nil {
			<-next
		}
	}()
	for done := int64(0); ; {
		got := <-next
		next = nil
		if done == 0 {
			if errors.Is(got.err, errVanished) {
				return nil
			}
			if got.err == nil {
				got.err = f.header(h)
			}
		}
		if got.err != nil && !errors.Is(got.err, errVanished) {
			return got.err
		}
		data := got.data[:min(int64(len(got.data)), h.Size-done)]
		if done += int64(len(data)); got.full && done < h.Size {
			next = ask(done)
		}
		if _, err := f.out.Write(data); err != nil {
			return err
		}
		if next == nil {
			_, err := io.CopyN(f.out, zeros{}, h.Size-done)
			return err
		}
	}
}

// piece returns what the file has from a block on, and whether that is as much as was asked for.
func (f *fetcher) piece(ctx context.Context, name string, file found, first int64) (data []byte, full bool, err error) {
	absolute := ""
	if file.absolute {
		absolute = "1"
	}
	left := (file.size+block-1)/block - first
	a, err := f.s.ask(ctx, "read", always, func(size int64) []string {
		return []string{absolute, base64.StdEncoding.EncodeToString([]byte("./" + name)), number(first), number(min(size/block, left)), f.epoch}
	})
	if err != nil {
		return nil, false, err
	}
	switch a.state {
	case stateOK:
		data = a.parts[1].data
		full = int64(len(data)) >= a.asked
		return data[:min(int64(len(data)), a.asked)], full, nil
	case stateNone:
		return nil, false, errVanished
	case stateOver:
		return nil, false, errReset
	}
	return nil, false, problem(sandbox.KindInvalid, "%q: the user that commands run as may not read it", name)
}

// zeros is an endless stream of them.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
