package python_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/runtime/python"
)

func TestArguments(t *testing.T) {
	p := transport(t, newRuntime(t).URL)
	for _, args := range [][]string{
		{"plain", "with space", "", "tab\tnewline\n", `it's`, `"double"`, `back\slash`, `'"\`, `\\'`, `$HOME`, "`id`", "a#b", "ü", "-n", "*", `\n`},
		{`'`}, {`"`}, {`\`}, {`'\"`}, {strings.Repeat(`'\`, 1000)},
	} {
		script := []string{"sh", "-c", `for a; do printf '[%s]' "$a"; done`, "sh"}
		r, err := p.Run(t.Context(), append(script, args...))
		if want := "[" + strings.Join(args, "][") + "]"; err != nil || string(r.Stdout) != want {
			t.Errorf("%q, %v; want %q", r.Stdout, err, want)
		}
	}
	for _, bad := range []string{"\xff", "a\x00b"} {
		if _, err := p.Run(t.Context(), []string{"echo", bad}); sandbox.KindOf(err) != sandbox.KindInternal || err == nil {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestReplies(t *testing.T) {
	p := transport(t, newRuntime(t).URL)
	for name, c := range map[string]struct {
		script, stdout, stderr string
		exit                   int
	}{
		"nothing":               {script: "true"},
		"both":                  {script: "echo out; echo err >&2; exit 3", stdout: "out\n", stderr: "err\n", exit: 3},
		"one":                   {script: "echo no >&2; exit 1", stderr: "no\n", exit: 1},
		"one with the words":    {script: "echo x; echo 'Failed to execute command: y' >&2; exit 1", stdout: "x\n", stderr: "Failed to execute command: y\n", exit: 1},
		"killed":                {script: "kill -9 $$", exit: 137},
		"terminated":            {script: "kill -15 $$", exit: 143},
		"another with the word": {script: "echo 'Failed to execute command: y' >&2; exit 2", stderr: "Failed to execute command: y\n", exit: 2},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := p.Run(t.Context(), []string{"sh", "-c", c.script})
			if err != nil || string(r.Stdout) != c.stdout || string(r.Stderr) != c.stderr || r.Exit != c.exit {
				t.Errorf("%q, %q, %d, %v", r.Stdout, r.Stderr, r.Exit, err)
			}
		})
	}
}

// no is the kind of an error that is none of a *sandbox.Error: there is no answer.
const no = sandbox.Kind(-1)

func kind(err error) sandbox.Kind {
	if e, ok := errors.AsType[*sandbox.Error](err); ok {
		return e.Kind
	}
	return no
}

func check(t *testing.T, err error, want sandbox.Kind, says ...string) {
	t.Helper()
	if err == nil || kind(err) != want {
		t.Errorf("error %v of kind %v, want %v", err, kind(err), want)
		return
	}
	for _, word := range says {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
}

func TestTheRuntimesOwnFailures(t *testing.T) {
	for why, c := range map[string]struct {
		kind sandbox.Kind
		says string
	}{
		"[Errno 2] No such file or directory: 'sh'":                                    {sandbox.KindUnsupported, "no program sh"},
		"[Errno 2] No such file or directory: '/app'":                                  {sandbox.KindUnsupported, "no folder /app"},
		"[Errno 13] Permission denied: 'sh'":                                           {sandbox.KindUnsupported, "may not start sh"},
		"[Errno 8] Exec format error: 'sh'":                                            {sandbox.KindUnsupported, "architecture"},
		"[Errno 7] Argument list too long: 'sh'":                                       {sandbox.KindInternal, "too long"},
		"Command '['sh']' timed out after 5.0 seconds":                                 {no, "SANDBOX_EXEC_TIMEOUT_SECONDS"},
		"'utf-8' codec can't decode byte 0xff in position 0: invalid start":            {no, "not text"},
		"[Errno 11] Resource temporarily unavailable":                                  {no, "temporarily unavailable"},
		"[Errno 12] Cannot allocate memory":                                            {no, "allocate memory"},
		"can't start new thread":                                                       {no, "new thread"},
		"[Errno 99999999999999999999] \x1b[31mevil\nline " + strings.Repeat("x", 9000): {no, "[31mevil line"},
	} {
		r := newRuntime(t)
		body, _ := jsonOf(executed{Stderr: "Failed to execute command: " + why, Exit: 1})
		r.before = times(1, "/execute", answer(200, "application/json", body))
		_, err := transport(t, r.URL).Run(t.Context(), []string{"sh", "-c", "x"})
		check(t, err, c.kind, c.says)
		if err != nil && (len(err.Error()) > 800 || strings.ContainsAny(err.Error(), "\x1b\n")) {
			t.Errorf("the error is not fit to be shown: %q", err)
		}
	}
}

func TestAnswersOfOthers(t *testing.T) {
	const html, js = "text/html; charset=utf-8", "application/json"
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter)
		kind   sandbox.Kind // before the runtime has ever answered
		says   []string
	}{
		"502":             {badGateway, no, []string{"502", "Could not connect to the backend sandbox: sb"}},
		"503":             {answer(503, html, "<html>unavailable"), no, []string{"503"}},
		"504":             {answer(504, "text/plain", "upstream request timeout"), no, []string{"504", "upstream request timeout"}},
		"500":             {answer(500, "text/plain", "Internal Server Error"), no, []string{"500"}},
		"429":             {answer(429, js, `{}`), no, []string{"429"}},
		"408":             {answer(408, js, `{}`), no, []string{"408"}},
		"bad header":      {answer(400, js, `{"detail": "Invalid namespace format."}`), sandbox.KindUnsupported, []string{"400", "Invalid namespace format."}},
		"TLS expected":    {answer(400, "text/plain", "Client sent an HTTP request to an HTTPS server."), sandbox.KindUnsupported, []string{"HTTPS server"}},
		"no token":        {answer(401, js, `{"detail": "missing bearer token"}`), sandbox.KindUnsupported, []string{"401", "--token-file", "missing bearer token"}},
		"wrong token":     {answer(403, js, `{"detail": "not your sandbox"}`), sandbox.KindUnsupported, []string{"403", "--token-file", "not your sandbox"}},
		"another server":  {answer(404, html, "<html><title>nginx"), sandbox.KindUnsupported, []string{"404", "web page"}},
		"another runtime": {answer(404, js, `{"detail": "Not Found"}`), sandbox.KindUnsupported, []string{"404", "`runtime`"}},
		"other methods":   {answer(405, js, `{}`), sandbox.KindUnsupported, []string{"405"}},
		"login page":      {answer(200, html, "<!doctype html>Log in"), sandbox.KindUnsupported, []string{"web page", "Log in"}},
		"another API":     {answer(200, js, `{"ok": true}`), sandbox.KindUnsupported, []string{`ok`}},
		"another type":    {answer(200, js, `{"stdout": 1, "exit_code": 0}`), sandbox.KindUnsupported, []string{"stdout"}},
		"no JSON":         {answer(200, "text/plain", "hello"), sandbox.KindUnsupported, []string{"hello"}},
		"validation":      {answer(422, js, `{"detail": [{"loc": ["body", "command"]}]}`), sandbox.KindUnsupported, []string{"422", "command"}},
		"too large":       {answer(413, html, "<html>"), sandbox.KindUnsupported, []string{"413"}},
		"cut":             {cut, no, nil},
		"endless":         {endless, sandbox.KindUnsupported, []string{"longer than 16 MiB"}},
		"redirect": {func(w http.ResponseWriter) {
			w.Header().Set("Location", "https://x.example/")
			w.WriteHeader(http.StatusFound)
		}, sandbox.KindUnsupported, []string{"302", "https://x.example/", "--api-url"}},
		"control sequence": {answer(404, "text/plain", "\x1b]0;evil\a\nline"), sandbox.KindUnsupported, []string{"]0;evil line"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRuntime(t)
			p := transport(t, r.URL)
			r.before = times(1, "/execute", c.answer)
			_, err := p.Run(t.Context(), []string{"true"})
			check(t, err, c.kind, c.says...)
			if n := r.count("POST /execute"); n != 1 {
				t.Errorf("the command was sent %d times", n)
			}
			if _, err := p.Run(t.Context(), []string{"true"}); err != nil {
				t.Fatal(err)
			}
			// From now on it is the sandbox that has changed, not the set-up that is wrong.
			r.before = times(1, "/execute", c.answer)
			_, err = p.Run(t.Context(), []string{"true"})
			if c.kind == sandbox.KindUnsupported {
				c.kind = sandbox.KindLost
			}
			check(t, err, c.kind, c.says...)
		})
	}
}

// A router that reaches nothing in a sandbox that never answered may mean that the recipe names the wrong port.
func TestWrongPort(t *testing.T) {
	r := newRuntime(t)
	p := transport(t, r.URL)
	for _, worked := range []bool{false, true} {
		r.before = times(1, "/execute", badGateway)
		_, err := p.Run(t.Context(), []string{"true"})
		if err == nil || strings.Contains(err.Error(), "`runtime` and `port`") == worked {
			t.Errorf("after answers %v: %v", worked, err)
		}
		if _, err := p.Run(t.Context(), []string{"true"}); err != nil {
			t.Fatal(err)
		}
	}
}

func endless(w http.ResponseWriter) {
	_, _ = io.WriteString(w, `{"stdout": "`)
	for range 20 {
		if _, err := io.WriteString(w, strings.Repeat("x", 1<<20)); err != nil {
			return
		}
	}
}

func TestARuntimeThatHangs(t *testing.T) {
	r := newRuntime(t)
	release := make(chan struct{})
	r.before = func(_ http.ResponseWriter, req *http.Request) bool {
		select {
		case <-release:
		case <-req.Context().Done():
		}
		return true
	}
	defer close(release)
	over := errors.New("over")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(over) })
	_, err := transport(t, r.URL).Run(ctx, []string{"true"})
	if check(t, err, no, "sb"); !errors.Is(err, over) {
		t.Errorf("%v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	s := httptest.NewServer(nil)
	s.Close()
	_, err := transport(t, s.URL).Run(t.Context(), []string{"true"})
	check(t, err, no, "connection refused")
}

func TestNoWay(t *testing.T) {
	c, err := connect.Open(t.Context(), nil, connect.Options{Mode: connect.InCluster})
	if err != nil {
		t.Fatal(err)
	}
	p := python.New(c, target)
	_, err = p.Run(t.Context(), []string{"true"})
	check(t, err, sandbox.KindUnsupported, "--pod-ip")
	_, err = p.Upload(t.Context(), "x", nil)
	check(t, err, sandbox.KindUnsupported, "--pod-ip")
}

func TestAWayThatMayComeBack(t *testing.T) {
	c, err := connect.Open(t.Context(), nil, connect.Options{Mode: connect.InCluster, PodIP: true})
	if err != nil {
		t.Fatal(err)
	}
	p := python.New(c, target) // of which no address is known
	_, err = p.Run(t.Context(), []string{"true"})
	check(t, err, no, "no address")
	_, err = p.Upload(t.Context(), "x", nil)
	check(t, err, no, "no address")
}
