package beneath

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"secret": "secret", "shared/file": "shared", "shared/sub/file": "sub", "other/file": "other"} {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{
		"shared/out": "../secret", "shared/up": "..", "shared/in": "sub/file", "shared/absolute": filepath.Join(dir, "secret"),
		"way": "shared/sub", "trusted": "shared/out", "free": "other/file",
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "shared/fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	var f Folders
	if err := f.Add(dir + "/way/.."); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"shared/file": "shared", "shared/in": "sub", "way/file": "sub", "secret": "secret", "free": "other", "shared/fifo": "",
		"shared/out": "refused", "shared/up/secret": "refused", "shared/absolute": "refused", "trusted": "refused", "way/../out": "refused",
		"shared/none": "none", "none": "none",
	} {
		var got string
		file, err := f.Open(dir + "/" + name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			got = "none"
		case err != nil:
			got = "refused"
		default:
			b, _ := io.ReadAll(file)
			got = string(b)
			file.Close()
		}
		if got != want {
			t.Errorf("%s: %q, want %q: %v", name, got, want, err)
		}
	}
}
