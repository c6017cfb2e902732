package python_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

func jsonOf(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// pattern is n bytes, each of the 256 among them.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i + i>>8)
	}
	return b
}

func TestUpload(t *testing.T) {
	denied := errors.New("[Errno 13] Permission denied: '/app/x'")
	tooLarge := func(limit int64) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.ContentLength <= limit {
				return false
			}
			answer(413, "text/html", "<html>413")(w)
			return true
		}
	}
	for name, c := range map[string]struct {
		arrange func(r *runtime)
		sizes   []int
		in      string // where the file is
		uploads int    // requests, for all sizes together
	}{
		"whole":     {sizes: []int{0, 1, 3 << 20, 8 << 20}, in: "app", uploads: 4},
		"nginx":     {arrange: func(r *runtime) { r.before = tooLarge(1 << 20) }, sizes: []int{1 << 10, 3 << 20, 1<<20 + 1, 0}, in: "app", uploads: 1 + 1 + 6 + 3 + 1},
		"read-only": {arrange: func(r *runtime) { r.full = denied }, sizes: []int{70 << 10, 0, 1, 24 << 10}, in: "tmp", uploads: 1},
		"no spool": {
			arrange: func(r *runtime) {
				r.before = times(1, "/upload", answer(400, "application/json", `{"detail": "There was an error parsing the body"}`))
			},
			sizes: []int{1}, in: "tmp", uploads: 1,
		},
		"a bad moment": {arrange: func(r *runtime) { r.before = times(2, "/upload", badGateway) }, sizes: []int{100}, in: "app", uploads: 3},
		"an answer that is lost": {
			arrange: func(r *runtime) { r.after = times(1, "/upload", badGateway) }, sizes: []int{1 << 20}, in: "app", uploads: 2,
		},
		"pieces whose answers are lost": {
			arrange: func(r *runtime) {
				r.full = denied
				n := 0
				r.after = func(w http.ResponseWriter, req *http.Request) bool {
					if n++; req.URL.Path != "/execute" || n%2 == 0 {
						return false
					}
					badGateway(w)
					return true
				}
			},
			sizes: []int{50 << 10}, in: "tmp", uploads: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRuntime(t)
			if c.arrange != nil {
				c.arrange(r)
			}
			p := transport(t, r.URL)
			for _, size := range c.sizes {
				data := pattern(size)
				path, err := p.Upload(t.Context(), "part-1", data)
				if err != nil {
					t.Fatal(err)
				}
				file := path
				if c.in == "app" {
					file = strings.Replace(path, "/app", r.app, 1)
				}
				if !filepath.IsAbs(path) || c.in == "tmp" && !strings.HasPrefix(path, os.Getenv("TMPDIR")+"/") {
					t.Errorf("path %q", path)
				}
				got, err := os.ReadFile(file)
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("%d bytes of %d: %v", len(got), size, err)
				}
				names, err := fs.ReadDir(os.DirFS(filepath.Dir(file)), ".")
				if err != nil || len(names) != 1 {
					t.Errorf("beside it: %v, %v", names, err)
				}
			}
			if n := r.count("POST /upload"); n != c.uploads {
				t.Errorf("%d uploads, want %d", n, c.uploads)
			}
		})
	}
}

// Over a slow line an upload goes in pieces that come in time, and so do those after it.
func TestUploadOverASlowLine(t *testing.T) {
	r := newRuntime(t)
	r.before = func(_ http.ResponseWriter, req *http.Request) bool {
		req.Body = io.NopCloser(slow{req.Body})
		return false
	}
	p := transport(t, r.URL)
	p.Hurry(time.Second)
	data := pattern(700 << 10)
	for _, name := range []string{"first", "second"} {
		before := len(r.requests)
		path, err := p.Upload(t.Context(), name, data)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(strings.Replace(path, "/app", r.app, 1))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes of %d: %v", path, len(got), len(data), err)
		}
		if filepath.Base(path) == name {
			t.Errorf("%s is what the upload that was given up may still write", path)
		}
		r.mu.Lock()
		for _, said := range r.requests[before:] {
			var size int64
			if _, err := fmt.Sscanf(said, "POST /upload %d", &size); err == nil && name == "second" && size > 65<<10 {
				t.Errorf("%s: %s", name, said)
			}
		}
		r.mu.Unlock()
	}
}

// slow reads 300 KiB a second.
type slow struct{ io.Reader }

func (s slow) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b[:min(len(b), 15<<10)])
	time.Sleep(time.Duration(n) * time.Second / (300 << 10))
	return n, err
}

func TestUploadRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter)
		times  int
		kind   sandbox.Kind
		says   []string
	}{
		"no space":     {answer(500, "application/json", `{"message": "File upload failed: [Errno 28] No space left on device"}`), 1, sandbox.KindNoSpace, []string{"No space left"}},
		"quota":        {answer(500, "application/json", `{"message": "File upload failed: [Errno 122] Disk quota exceeded"}`), 1, sandbox.KindNoSpace, []string{"quota"}},
		"directory":    {answer(500, "application/json", `{"message": "File upload failed: [Errno 21] Is a directory: '/app/x'"}`), 1, sandbox.KindInternal, []string{"Is a directory"}},
		"always 413":   {answer(413, "text/html", "<html>"), 3, sandbox.KindUnsupported, []string{"64 KiB"}},
		"no token":     {answer(401, "application/json", `{"detail": "missing bearer token"}`), 1, sandbox.KindUnsupported, []string{"--token-file"}},
		"wrong server": {answer(404, "text/html", "<html>"), 1, sandbox.KindUnsupported, []string{"web page"}},
		"never":        {badGateway, 100, no, []string{"502"}},
		"always cut":   {cut, 100, no, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRuntime(t)
			r.before = times(c.times, "/upload", c.answer)
			_, err := transport(t, r.URL).Upload(t.Context(), "x", []byte("data"))
			check(t, err, c.kind, c.says...)
		})
	}
}

func TestUploadWhereNothingCanBeWritten(t *testing.T) {
	r := newRuntime(t)
	r.full = errors.New("[Errno 30] Read-only file system: '/app/x'")
	for stderr, want := range map[string]sandbox.Kind{
		"no folder can be written: /app, TMPDIR, /tmp, /var/tmp, /dev/shm": sandbox.KindUnsupported,
		"sh: write error: No space left on device":                         sandbox.KindNoSpace,
	} {
		exit := map[sandbox.Kind]int{sandbox.KindUnsupported: 71, sandbox.KindNoSpace: 72}[want]
		body, _ := jsonOf(executed{Stderr: stderr, Exit: exit})
		r.before = times(1, "/execute", answer(200, "application/json", body))
		_, err := transport(t, r.URL).Upload(t.Context(), "x", []byte("data"))
		check(t, err, want, stderr[:10])
	}
}
