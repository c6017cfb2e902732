package python_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/runtime/python"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// runtime does what examples/python-runtime-sandbox/main.py does, on this machine. /app is a folder of the test's own.
type runtime struct {
	*httptest.Server
	app string

	mu       sync.Mutex
	requests []string // method, path and length of the body
	// before may answer in the place of the runtime; after may, when the runtime has done its work.
	before, after func(w http.ResponseWriter, r *http.Request) bool
	// full, if not nil, is why files cannot be written to /app.
	full error
}

func newRuntime(t *testing.T) *runtime {
	t.Helper()
	r := &runtime{app: t.TempDir()}
	t.Setenv("TMPDIR", t.TempDir()) // of the commands
	r.Server = httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.Close)
	return r
}

func (r *runtime) serve(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, fmt.Sprintf("%s %s %d", req.Method, req.URL.Path, req.ContentLength))
	before, after := r.before, r.after
	r.mu.Unlock()
	if before != nil && before(w, req) {
		return
	}
	status, answer := http.StatusNotFound, any(map[string]string{"detail": "Not Found"})
	switch req.Method + " " + req.URL.Path {
	case "GET /":
		status, answer = http.StatusOK, map[string]string{"status": "ok", "message": "Sandbox Runtime is active."}
	case "POST /execute":
		var c struct{ Command string }
		if err := json.NewDecoder(req.Body).Decode(&c); err != nil {
			panic(err)
		}
		status, answer = http.StatusOK, r.execute(c.Command)
	case "POST /upload":
		status, answer = r.upload(req)
	}
	if after != nil && after(w, req) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // the client may be gone
}

type executed struct {
	Stdout string `json:"stdout"`
	Stderr string `json:"stderr"`
	Exit   int    `json:"exit_code"`
}

func (r *runtime) execute(command string) executed {
	argv, err := split(command)
	if err != nil {
		return executed{Stderr: "Failed to execute command: " + err.Error(), Exit: 1}
	}
	for i := range argv {
		if argv[i] == "/app" {
			argv[i] = r.app
		}
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.app, &stdout, &stderr
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code := exit.ExitCode()
		if s := exit.Sys().(syscall.WaitStatus); s.Signaled() {
			code = -int(s.Signal())
		}
		return executed{stdout.String(), stderr.String(), code}
	}
	if err != nil {
		return executed{Stderr: fmt.Sprintf("Failed to execute command: [Errno 2] No such file or directory: '%s'", argv[0]), Exit: 1}
	}
	return executed{stdout.String(), stderr.String(), 0}
}

func (r *runtime) upload(req *http.Request) (int, any) {
	file, header, err := req.FormFile("file")
	if err != nil {
		return http.StatusUnprocessableEntity, map[string]string{"detail": err.Error()}
	}
	defer file.Close()
	b, err := io.ReadAll(file)
	if err == nil {
		err = r.full
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(r.app, header.Filename), b, 0o600)
	}
	if err != nil {
		return http.StatusInternalServerError, map[string]string{"message": "File upload failed: " + err.Error()}
	}
	return http.StatusOK, map[string]string{"message": "File '" + header.Filename + "' uploaded successfully."}
}

// split is what Python's shlex.split does, by its documentation: quotes of both kinds, and a backslash that escapes
// everything outside of them, and itself and the quote within double ones.
func split(s string) ([]string, error) {
	var words []string
	var word *strings.Builder
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if quote == 0 && strings.IndexByte(" \t\r\n", c) >= 0 {
			if word != nil {
				words, word = append(words, word.String()), nil
			}
			continue
		}
		if word == nil {
			word = &strings.Builder{}
		}
		switch {
		case c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case c == '\\' && quote != '\'':
			if i++; i == len(s) {
				return nil, errors.New("No escaped character")
			}
			if quote == '"' && s[i] != '"' && s[i] != '\\' {
				word.WriteByte('\\')
			}
			word.WriteByte(s[i])
		default:
			word.WriteByte(c)
		}
	}
	if quote != 0 {
		return nil, errors.New("No closing quotation")
	}
	if word != nil {
		words = append(words, word.String())
	}
	return words, nil
}

func (r *runtime) count(prefix string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.requests {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

var target = connect.Target{Sandbox: "sb", Namespace: "ns"}

func connector(t *testing.T, url string) connect.Connector {
	t.Helper()
	c, err := connect.Open(t.Context(), nil, connect.Options{Mode: connect.Direct, APIURL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func transport(t *testing.T, url string) *python.Transport {
	t.Helper()
	return python.New(connector(t, url), target)
}

// times lets f answer the first n requests to path.
func times(n int, path string, f func(http.ResponseWriter)) func(http.ResponseWriter, *http.Request) bool {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path != path || n == 0 {
			return false
		}
		n--
		_, _ = io.Copy(io.Discard, r.Body)
		f(w)
		return true
	}
}

func answer(status int, kind, body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

var badGateway = answer(502, "application/json", `{"detail": "Could not connect to the backend sandbox: sb"}`)

// cut ends the connection in the middle of an answer.
func cut(w http.ResponseWriter) {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, `{"stdout": "abc`)
	panic(http.ErrAbortHandler)
}
