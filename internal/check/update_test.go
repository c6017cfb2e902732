package check

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

func golden(name string, norm ...recipe.Normalize) *recipe.Text {
	return &recipe.Text{Golden: match(name), Pos: at, Normalize: norm}
}

// runUpdate checks a step with --update and gives its golden files to u.
func runUpdate(t *testing.T, u *Updates, dir, stdout string, e recipe.Expect) Report {
	t.Helper()
	r, err := Step(t.Context(), &recipe.Step{Expect: e}, dir, Outcome{Stdout: Bytes([]byte(stdout))}, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Add(dir, r.Golden); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestGolden(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "same"), "one\n")
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, want string
		text       *recipe.Text
	}{
		{"same", "", golden("same")},
		{"missing", "stdout.golden: the golden file missing does not exist: run with --update to write it", golden("missing")},
		{"outside", `stdout.golden: the golden file "../x" lies outside the recipe's folder`, golden("../x")},
		{"absolute", `stdout.golden: the golden file "/etc/passwd" lies outside the recipe's folder`, golden("/etc/passwd")},
		{"folder", "stdout.golden: the golden file folder cannot be used: it is not a regular file", golden("folder")},
		{"not in a folder", "stdout.golden: the golden file same/x cannot be used: not a directory", golden("same/x")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Step(t.Context(), &recipe.Step{Expect: recipe.Expect{Stdout: tt.text}}, dir, Outcome{Stdout: Bytes([]byte("one\n"))}, nil, false)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Golden) > 0 {
				t.Errorf("without --update there is nothing to write, but %d files would be", len(r.Golden))
			}
			if d := cmp.Diff(tt.want, messages(r)); d != "" {
				t.Error(d)
			}
			if r.Golden != nil && r.Reason != "" {
				t.Error("a step that failed has golden files to write")
			}
		})
	}
	t.Run("exact", func(t *testing.T) {
		r, err := Step(t.Context(), &recipe.Step{Expect: recipe.Expect{Stdout: golden("same")}}, dir, Outcome{Stdout: Bytes([]byte("one"))}, nil, false)
		want := `stdout.golden: stdout differs from the golden file same: the first difference is in line 1, column 4: want "\n", got the end` +
			" (only white space at the beginning or end differs: `normalize: [trim]` evens that out)"
		if err != nil || messages(r) != want {
			t.Errorf("%v\n%s", err, messages(r))
		}
	})
}

func TestUpdate(t *testing.T) {
	digits := recipe.Normalize{Kind: "replace", Replace: expr.Literal(`\d+`), With: expr.Literal("N")}
	dir, spool := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(dir, "old"), "before 1\n")
	if err := os.Chmod(filepath.Join(dir, "old"), 0o640); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "kept"), "took 5 ms\n")
	u := NewUpdates(spool)
	for _, s := range []struct {
		stdout string
		expect recipe.Expect
	}{
		{"new\n", recipe.Expect{Stdout: golden("new/deep/file")}},
		{"after 2\n", recipe.Expect{Stdout: golden("old", digits)}},
		{"took 99 ms\n", recipe.Expect{Stdout: golden("kept", digits)}}, // differs only before normalising
	} {
		if r := runUpdate(t, u, dir, s.stdout, s.expect); r.Reason != "" {
			t.Error(messages(r))
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("written before the run was over")
	}
	written, err := u.Write()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{filepath.Join(dir, "new/deep/file"), filepath.Join(dir, "old")}, written); d != "" {
		t.Error(d)
	}
	for name, want := range map[string]string{"new/deep/file": "new\n", "old": "after N\n", "kept": "took 5 ms\n"} {
		if got := readFile(t, filepath.Join(dir, name)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if info, _ := os.Stat(filepath.Join(dir, "old")); info.Mode() != 0o640 {
		t.Errorf("mode %v, want that of before", info.Mode())
	}
	onlyFiles(t, dir, "kept", "new/deep/file", "old")
	onlyFiles(t, spool)
}

// A step that fails otherwise writes nothing, and its golden file is a finding.
func TestUpdateNotOfFailures(t *testing.T) {
	dir := t.TempDir()
	u := NewUpdates(t.TempDir())
	text := golden("new")
	text.Contains = match("absent")
	r := runUpdate(t, u, dir, "new\n", recipe.Expect{Stdout: text})
	if len(r.Findings) != 2 || len(r.Golden) != 0 {
		t.Errorf("%d golden files; findings:\n%s", len(r.Golden), messages(r))
	}
	if written, err := u.Write(); err != nil || written != nil {
		t.Errorf("wrote %v, %v", written, err)
	}
	onlyFiles(t, dir)
}

func TestUpdateRefused(t *testing.T) {
	tests := []struct {
		name  string
		setup func(t *testing.T, dir string)
		steps [][2]string // golden file, stdout
		want  string      // of the error, with DIR for the recipe's folder
	}{
		{"two contents", nil, [][2]string{{"a", "1"}, {"b", "x"}, {"a", "2"}},
			"--update wrote nothing: DIR/a: two contents for one file, from two cases or samples, by line 7 of the recipe"},
		{"two names", nil, [][2]string{{"a", "1"}, {"./b/../a", "2"}},
			"--update wrote nothing: DIR/a: two contents for one file, from two cases or samples, by line 7 of the recipe"},
		{"one holds, one differs", func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "a"), "1") }, [][2]string{{"a", "1"}, {"a", "2"}},
			"--update wrote nothing: DIR/a: two contents for one file, from two cases or samples, by line 7 of the recipe"},
		{"link to a file outside", func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, "../victim"), "safe")
			symlink(t, "../victim", filepath.Join(dir, "a"))
		}, [][2]string{{"a", "1"}}, "--update wrote nothing: DIR/a: a symbolic link leads out of the recipe's folder, to PARENT/victim"},
		{"link to a folder outside", func(t *testing.T, dir string) { symlink(t, "..", filepath.Join(dir, "up")) }, [][2]string{{"up/new/a", "1"}},
			"--update wrote nothing: DIR/up/new/a: a symbolic link leads out of the recipe's folder, to PARENT/new/a"},
		{"link to nothing", func(t *testing.T, dir string) { symlink(t, "../gone", filepath.Join(dir, "a")) }, [][2]string{{"a", "1"}},
			"--update wrote nothing: DIR/a: DIR/a is a symbolic link to nothing"},
		{"parent is a file", func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "b"), "") }, [][2]string{{"a", "1"}, {"b", "2"}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parent := t.TempDir()
			dir := filepath.Join(parent, "recipe")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if tt.setup != nil {
				tt.setup(t, dir)
			}
			u := NewUpdates(t.TempDir())
			for _, s := range tt.steps {
				runUpdate(t, u, dir, s[1], recipe.Expect{Stdout: golden(s[0])})
			}
			before := tree(t, parent)
			_, err := u.Write()
			want := strings.NewReplacer("DIR", dir, "PARENT", parent).Replace(tt.want)
			if fmt.Sprint(err) != want && (want != "" || err != nil) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if tt.want == "" {
				return
			}
			if d := cmp.Diff(before, tree(t, parent)); d != "" {
				t.Errorf("written all the same: %s", d)
			}
		})
	}
}

// A link within the recipe's folder stays one; the file that it leads to is written.
func TestUpdateThroughLink(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "real"), "old")
	symlink(t, "real", filepath.Join(dir, "link"))
	u := NewUpdates(t.TempDir())
	runUpdate(t, u, dir, "new", recipe.Expect{Stdout: golden("link")})
	runUpdate(t, u, dir, "new", recipe.Expect{Stdout: golden("real")})
	if _, err := u.Write(); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, filepath.Join(dir, "real")); got != "new" {
		t.Errorf("the file has %q", got)
	}
	if target, err := os.Readlink(filepath.Join(dir, "link")); err != nil || target != "real" {
		t.Errorf("the link is %q, %v", target, err)
	}
}

// A link that is made after the check, towards the outside, is not followed.
func TestUpdateLinkMadeLater(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "recipe")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	u := NewUpdates(t.TempDir())
	runUpdate(t, u, dir, "new", recipe.Expect{Stdout: golden("sub/file")})
	symlink(t, "..", filepath.Join(dir, "sub"))
	if written, err := u.Write(); err == nil || written != nil {
		t.Errorf("wrote %v, %v", written, err)
	}
	if _, err := os.Stat(filepath.Join(parent, "file")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("written outside the recipe's folder")
	}
}

// Nothing is written where one file cannot be.
func TestUpdateAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	u := NewUpdates(t.TempDir())
	runUpdate(t, u, dir, "1", recipe.Expect{Stdout: golden("a")})
	runUpdate(t, u, dir, "2", recipe.Expect{Stdout: golden("z/file")})
	writeFile(t, filepath.Join(dir, "z"), "now a file")
	if written, err := u.Write(); err == nil || written != nil {
		t.Errorf("wrote %v, %v", written, err)
	}
	onlyFiles(t, dir, "z")
}

func TestUpdatesConcurrently(t *testing.T) {
	dir := t.TempDir()
	u := NewUpdates(t.TempDir())
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			name := fmt.Sprintf("golden/%d", i%10)
			r, err := Step(t.Context(), &recipe.Step{Expect: recipe.Expect{Stdout: golden(name)}}, dir,
				Outcome{Stdout: Bytes([]byte(name))}, expr.Env{}, true)
			if err := errors.Join(err, u.Add(dir, r.Golden)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if written, err := u.Write(); err != nil || len(written) != 10 {
		t.Errorf("wrote %v, %v", written, err)
	}
}

// More files than there are descriptors, in few folders or each in one of its own.
func TestUpdateOfManyFiles(t *testing.T) {
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	few := was
	few.Cur = 64
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was) })
	for _, name := range []string{"golden/%d", "%d/golden"} {
		dir, spool := t.TempDir(), t.TempDir()
		u := NewUpdates(spool)
		for i := range 100 {
			runUpdate(t, u, dir, "new\n", recipe.Expect{Stdout: golden(fmt.Sprintf(name, i))})
		}
		if written, err := u.Write(); err != nil || len(written) != 100 {
			t.Errorf("%s: wrote %d files: %v", name, len(written), err)
		}
		if got := len(tree(t, dir)); got != 100 {
			t.Errorf("%s: there are %d files", name, got)
		}
		onlyFiles(t, spool)
	}
}

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// tree returns the files below dir with their content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			files[path], err = os.Readlink(path)
			return err
		}
		files[path] = readFile(t, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func onlyFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	wanted := map[string]bool{}
	for _, w := range want {
		wanted[filepath.Join(dir, w)] = true
	}
	got := map[string]bool{}
	for path := range tree(t, dir) {
		got[path] = true
	}
	if d := cmp.Diff(wanted, got); d != "" {
		t.Error(d)
	}
}
