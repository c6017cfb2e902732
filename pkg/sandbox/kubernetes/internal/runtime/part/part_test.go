package part

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// shells are those of this machine that images have as sh.
func shells(t *testing.T) map[string][]string {
	list := map[string][]string{"sh": {"sh"}}
	for name, argv := range map[string][]string{"dash": {"dash"}, "bash": {"bash", "--posix"}, "busybox": {"busybox", "sh"}, "zsh": {"zsh", "--emulate", "sh"}} {
		if _, err := exec.LookPath(argv[0]); err == nil {
			list[name] = argv
		}
	}
	return list
}

// store runs Command with one of the shells, and reads its answer.
func store(t *testing.T, shell, env []string, name string, size int, input []byte) (string, error) {
	t.Helper()
	argv := slices.Concat(shell, Command(name, size)[1:])
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = bytes.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return Path(cmd.ProcessState.ExitCode(), stdout.Bytes(), stderr.Bytes())
}

func TestStore(t *testing.T) {
	for name, shell := range shells(t) {
		t.Run(name, func(t *testing.T) {
			tmp := filepath.Join(t.TempDir(), "a folder")
			for _, content := range []string{"", "x", "\x00\r\n\xff", strings.Repeat("block\n", 100_000)} {
				p, err := store(t, shell, []string{"TMPDIR=" + tmp}, "part-1", len(content), []byte(content))
				if err != nil {
					t.Fatal(err)
				}
				if want := filepath.Join(tmp, ".sbxrun", "parts", "part-1"); p != want {
					t.Errorf("path %q, want %q", p, want)
				}
				if b, err := os.ReadFile(p); err != nil || string(b) != content {
					t.Errorf("%d bytes (error %v), want %d", len(b), err, len(content))
				}
			}
		})
	}
}

func TestAPartThatIsNotWholeIsNotThere(t *testing.T) {
	for name, shell := range shells(t) {
		t.Run(name, func(t *testing.T) {
			tmp := t.TempDir()
			env := []string{"TMPDIR=" + tmp}
			if _, err := store(t, shell, env, "p", 5, []byte("whole")); err != nil {
				t.Fatal(err)
			}
			for _, content := range []string{"", "who", "whole and more"} {
				_, err := store(t, shell, env, "p", 5, []byte(content))
				if _, final := errors.AsType[*sandbox.Error](err); err == nil || final {
					t.Errorf("%q: error %v, want one that says to send again", content, err)
				}
			}
			left, err := filepath.Glob(filepath.Join(tmp, ".sbxrun", "parts", "*"))
			if b, _ := os.ReadFile(filepath.Join(tmp, ".sbxrun", "parts", "p")); err != nil || string(b) != "whole" || len(left) != 1 {
				t.Errorf("there is %q and %q", b, left)
			}
		})
	}
}

// Where TMPDIR cannot be used, /tmp is.
func TestOtherFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	name := "sbxrun-test-" + strings.ToLower(filepath.Base(t.TempDir()))
	p, err := store(t, []string{"sh"}, []string{"TMPDIR=" + file}, name, 1, []byte("x"))
	if err != nil || p != "/tmp/.sbxrun/parts/"+name {
		t.Errorf("%q, %v", p, err)
	}
	_ = os.Remove(p)
}

func TestPath(t *testing.T) {
	const again = sandbox.Kind(-1)
	for _, c := range []struct {
		exit           int
		stdout, stderr string
		want           sandbox.Kind
		says           string
	}{
		{0, "p\n", "", sandbox.KindInternal, `"p" instead of a path`},
		{0, "/tmp/p\x1b[2J\n", "", sandbox.KindInternal, "instead of a path"},
		{0, "/" + strings.Repeat("x", 10_000), "", sandbox.KindInternal, "instead of a path"},
		{1, "", "\x1b]0;evil\a", sandbox.KindInternal, "]0;evil "},
		{noFolder, "", "no folder can be written\n", sandbox.KindUnsupported, "emptyDir"},
		{notSaved, "", "cat: write error: No space left on device\n", sandbox.KindNoSpace, "No space left"},
		{notSaved, "", "cat: -: Disk quota exceeded\n", sandbox.KindNoSpace, "quota"},
		{notSaved, "", "mv: cannot move\n", sandbox.KindInternal, "cannot move"},
		{cutShort, "", "", again, "in the middle"},
		{127, "", "sh: cat: not found\n", sandbox.KindUnsupported, "cat: not found"},
		{137, "", "", again, "signal 9"},
		{0, "", "", again, "no answer"},
		{1, "", strings.Repeat("x", 10_000), sandbox.KindInternal, "xxx..."},
	} {
		_, err := Path(c.exit, []byte(c.stdout), []byte(c.stderr))
		e, final := errors.AsType[*sandbox.Error](err)
		if err == nil || final != (c.want != again) || final && e.Kind != c.want || !strings.Contains(err.Error(), c.says) || len(err.Error()) > 1000 {
			t.Errorf("status %d, stderr %.50q: error %v", c.exit, c.stderr, err)
		}
	}
}
