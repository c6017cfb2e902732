package sandbox_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest/fake"
)

func open(t *testing.T) sandbox.Sandbox {
	t.Helper()
	p, err := fake.Open(t.Context(), fake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	s, err := p.Acquire(t.Context(), sandbox.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPutThenGet(t *testing.T) {
	s := open(t)
	for _, name := range []string{"a.txt", "dir/deep/b", "/tmp/c", "*?[x]{y,z}", `back\slash`, "ünï", "-rf", "sp ace\nline", "\xff\xfe"} {
		for _, content := range []string{"", "x", strings.Repeat("block", 1000)} {
			f := sandbox.File{Name: name, Mode: 0o640, Size: int64(len(content))}
			if err := sandbox.Put(t.Context(), s, f, strings.NewReader(content)); err != nil {
				t.Fatalf("Put(%q): %v", name, err)
			}
			got, r, err := sandbox.Get(t.Context(), s, name)
			if err != nil {
				t.Fatalf("Get(%q): %v", name, err)
			}
			b, err := io.ReadAll(r)
			if err != nil || string(b) != content {
				t.Errorf("Get(%q) has %d bytes and error %v, want %d bytes", name, len(b), err, len(content))
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if want := strings.TrimPrefix(name, "/"); got.Name != want || got.Mode != 0o640 || got.Size != int64(len(content)) {
				t.Errorf("Get(%q) = %+v", name, got)
			}
		}
	}
}

func TestPutRefuses(t *testing.T) {
	broken := errors.New("disk on fire")
	for name, c := range map[string]struct {
		file    sandbox.File
		content io.Reader
		cause   error
	}{
		"shorter":   {file: sandbox.File{Name: "f", Size: 5}, content: strings.NewReader("1234")},
		"longer":    {file: sandbox.File{Name: "f", Size: 5}, content: strings.NewReader("123456")},
		"no name":   {file: sandbox.File{}, content: strings.NewReader("")},
		"directory": {file: sandbox.File{Name: "d/"}, content: strings.NewReader("")},
		"parent":    {file: sandbox.File{Name: "d/.."}, content: strings.NewReader("")},
		"negative":  {file: sandbox.File{Name: "f", Size: -1}, content: strings.NewReader("")},
		"unread":    {file: sandbox.File{Name: "f", Size: 5}, content: io.MultiReader(strings.NewReader("12"), failing{broken}), cause: broken},
	} {
		t.Run(name, func(t *testing.T) {
			err := sandbox.Put(t.Context(), open(t), c.file, c.content)
			if err == nil || sandbox.KindOf(err) != sandbox.KindInvalid {
				t.Errorf("error %v of kind %v, want %v", err, sandbox.KindOf(err), sandbox.KindInvalid)
			}
			if c.cause != nil && !errors.Is(err, c.cause) {
				t.Errorf("error %v does not wrap %v", err, c.cause)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestGetExistsList(t *testing.T) {
	s := open(t)
	res, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"sh", "-c", "mkdir d; echo 1 > d/a; echo 22 > d/b; ln -s nowhere l"}}, nil, nil)
	if err != nil || res.Exit != 0 {
		t.Fatal(res, err)
	}
	for name, want := range map[string]sandbox.Kind{"none": sandbox.KindNotFound, "d": sandbox.KindInvalid, "l": sandbox.KindInvalid} {
		if _, _, err := sandbox.Get(t.Context(), s, name); err == nil || sandbox.KindOf(err) != want {
			t.Errorf("Get(%q): error %v of kind %v, want %v", name, err, sandbox.KindOf(err), want)
		}
	}
	if _, _, err := sandbox.Get(t.Context(), s, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
	for name, want := range map[string]bool{"none": false, "d": true, "l": true, "d/a": true, "d/a/x": false, "*": false} {
		if got, err := sandbox.Exists(t.Context(), s, name); err != nil || got != want {
			t.Errorf("Exists(%q) = %v, %v", name, got, err)
		}
	}
	list, err := sandbox.List(t.Context(), s, "**")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range list {
		got = append(got, f.Mode.Type().String()[:1]+" "+f.Name+" "+f.Link)
	}
	if want := "d d |- d/a |- d/b |L l nowhere"; strings.Join(got, "|") != want {
		t.Errorf("List: %q, want %q", strings.Join(got, "|"), want)
	}
}

func TestHelpersReturnTheSandboxsError(t *testing.T) {
	s := open(t)
	if err := s.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, _, getErr := sandbox.Get(t.Context(), s, "f")
	_, listErr := sandbox.List(t.Context(), s, "*")
	_, existsErr := sandbox.Exists(t.Context(), s, "f")
	for name, err := range map[string]error{
		"Get": getErr, "List": listErr, "Exists": existsErr,
		"Put": sandbox.Put(t.Context(), s, sandbox.File{Name: "f"}, strings.NewReader("")),
	} {
		if err == nil || sandbox.KindOf(err) != sandbox.KindReleased {
			t.Errorf("%s: error %v, want %v", name, err, sandbox.KindReleased)
		}
	}
}
