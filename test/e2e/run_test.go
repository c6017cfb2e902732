//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// started is an sbxrun that runs, or has run.
type started struct {
	t    *testing.T
	cmd  *exec.Cmd
	dir  string // of the run
	out  bytes.Buffer
	done chan struct{}
	exit int
}

// row is what the tests read of a line of results.jsonl.
type row struct {
	Recipe, ID, Verdict, Reason, Message string
	Sample                               int
	Flaky                                bool
	Steps                                []struct {
		Name, Verdict, Reason string
		Tries                 int
		Captures              map[string]any
	}
}

// recipe writes a recipe into a file.
func recipe(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "recipe.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// start runs sbxrun in the namespace. extra comes before what is given here, so that it cannot be changed by it.
func (w *world) start(args ...string) *started {
	return w.startAs(os.Getenv("KUBECONFIG"), args...)
}

// startAs is start with the credentials of another kubeconfig.
func (w *world) startAs(kubeconfig string, args ...string) *started {
	w.t.Helper()
	s := &started{t: w.t, dir: filepath.Join(w.t.TempDir(), "run"), done: make(chan struct{})}
	args = append(args, "--provider", "kubernetes", "--namespace", w.name)
	switch args[0] {
	case "gc", "doctor", "shell":
	default:
		args = append(args, "--out", s.dir)
	}
	s.cmd = exec.Command(binary, args...)
	s.cmd.Dir = filepath.Dir(s.dir)
	s.cmd.Env = append(append(os.Environ(), "KUBECONFIG="+kubeconfig, "NO_COLOR=1"), w.env...)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	if err := s.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		_ = s.cmd.Wait() // the state tells
		s.exit = s.cmd.ProcessState.ExitCode()
	}()
	w.t.Cleanup(func() {
		select {
		case <-s.done:
		default:
			_ = s.cmd.Process.Kill()
			<-s.done
		}
	})
	return s
}

// ends waits for the end, which must come with this exit status.
func (s *started) ends(exit int) *started {
	s.t.Helper()
	select {
	case <-s.done:
	case <-time.After(5 * patience):
		_ = s.cmd.Process.Kill()
		<-s.done
		s.t.Fatalf("sbxrun does not end:\n%s", s.out.String())
	}
	if s.exit != exit {
		s.t.Fatalf("exit status %d, want %d:\n%s", s.exit, exit, s.out.String())
	}
	return s
}

// says checks that each of the texts is in what it printed.
func (s *started) says(texts ...string) *started {
	s.t.Helper()
	for _, text := range texts {
		if !bytes.Contains(s.out.Bytes(), []byte(text)) {
			s.t.Errorf("%q is not said:\n%s", text, s.out.String())
		}
	}
	return s
}

// rows reads results.jsonl.
func (s *started) rows() []row {
	s.t.Helper()
	f, err := os.Open(filepath.Join(s.dir, "results.jsonl"))
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.out.String())
	}
	defer f.Close()
	var rows []row
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var r row
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			s.t.Fatal(err)
		}
		rows = append(rows, r)
	}
	return rows
}

// verdict checks the verdict and the reason of every sample.
func (s *started) verdict(verdict, reason string) *started {
	s.t.Helper()
	rows := s.rows()
	if len(rows) == 0 {
		s.t.Errorf("no sample has a result:\n%s", s.out.String())
	}
	for _, r := range rows {
		if r.Verdict != verdict || r.Reason != reason {
			s.t.Errorf("%s is %s/%s (%s), want %s/%s", r.ID, r.Verdict, r.Reason, r.Message, verdict, reason)
		}
	}
	return s
}

// awaits waits until a text is in the output of the run's steps or events.
func (s *started) awaits(text string) {
	s.t.Helper()
	err := within(patience, func() error {
		select {
		case <-s.done:
			s.t.Fatalf("sbxrun ended before %q was seen:\n%s", text, s.out.String())
		default:
		}
		found := errors.New("it is in no file of the run")
		_ = filepath.WalkDir(s.dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				if data, err := os.ReadFile(path); err == nil && bytes.Contains(data, []byte(text)) {
					found = nil
				}
			}
			return nil
		})
		return found
	})
	if err != nil {
		s.t.Fatalf("waiting for %q: %v", text, err)
	}
}
