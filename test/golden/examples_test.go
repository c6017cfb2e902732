package golden

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// Every example runs as it stands, as the README runs it, with the exit status that its head promises: 0, since an example
// whose cases fail judges them by a gate.
func TestExamples(t *testing.T) {
	examples, err := filepath.Glob("../../recipes/examples/*.yaml")
	if err != nil || len(examples) < 8 {
		t.Fatalf("%d examples, %v", len(examples), err)
	}
	head := regexp.MustCompile(`^# Shows: [^\n]+\n`)
	for _, path := range examples {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			path, err := filepath.Abs(path)
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !head.Match(data) {
				t.Error("the first line does not say what it shows")
			}
			dir := t.TempDir()
			cmd := exec.Command(filepath.Join(binary, "sbxrun"), path, "--out", filepath.Join(dir, "run"))
			cmd.Dir = "../.."
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v\n%s", err, out.Bytes())
			}
			if err := validRun(filepath.Join(dir, "run")); err != nil {
				t.Error(err)
			}
		})
	}
}
