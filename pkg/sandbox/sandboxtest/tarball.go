package sandboxtest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// entry is one file of a tar.
type entry struct {
	name    string
	kind    byte // zero: a regular file
	mode    int64
	link    string
	content string
}

// pack makes a tar.
func pack(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: e.mode, Linkname: e.link, Size: int64(len(e.content)), Format: tar.FormatPAX}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatalf("%q: %v", e.name, err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatalf("%q: %v", e.name, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// send sends entries, which has to succeed.
func (b *box) send(dir string, entries ...entry) {
	b.t.Helper()
	if err := b.Send(b.ctx, dir, bytes.NewReader(pack(b.t, entries...))); err != nil {
		b.t.Fatalf("send: %v", err)
	}
}

// receive receives what the globs match, with names without a final slash, in order.
func (b *box) receive(globs ...string) []entry {
	b.t.Helper()
	r, err := b.Receive(b.ctx, globs)
	if err != nil {
		b.t.Fatalf("receive %q: %v", globs, err)
	}
	entries, err := unpack(r)
	if err != nil {
		b.t.Fatalf("receive %q: %v", globs, err)
	}
	return entries
}

func unpack(r io.ReadCloser) ([]entry, error) {
	var list []entry
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return list, r.Close()
		}
		if err != nil {
			return list, errors.Join(err, r.Close())
		}
		content, err := io.ReadAll(in)
		if err != nil {
			return list, errors.Join(err, r.Close())
		}
		list = append(list, entry{strings.TrimSuffix(h.Name, "/"), h.Typeflag, h.Mode, h.Linkname, string(content)})
	}
}

// names are the names of entries, one a line.
func names(entries []entry) string {
	var b strings.Builder
	for _, e := range entries {
		b.WriteString(e.name + "\n")
	}
	return b.String()
}

// wantNames checks what globs match.
func (b *box) wantNames(globs []string, want ...string) {
	b.t.Helper()
	got := names(b.receive(globs...))
	if w := strings.Join(append(want, ""), "\n"); got != w {
		b.t.Errorf("%q matched\n%swant\n%s", globs, got, w)
	}
}

// tryReceive receives and drops what the globs match, for its error.
func tryReceive(ctx context.Context, s sandbox.Sandbox, globs ...string) error {
	r, err := s.Receive(ctx, globs)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}
