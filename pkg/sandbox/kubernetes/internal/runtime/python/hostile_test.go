package python_test

import (
	"errors"
	gort "runtime"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// What prints the path of a stored file runs in the sandbox, where its code may have replaced it.
func TestPathsThatAreNone(t *testing.T) {
	for _, path := range []string{"", "x", "../x", "\n", "/tmp/a\nb", "/tmp/\x1b[2J", "/tmp/a\x00", "/" + strings.Repeat("x", 1<<20)} {
		r := newRuntime(t)
		r.full = errors.New("[Errno 13] Permission denied: '/app/x'")
		body, _ := jsonOf(executed{Stdout: path})
		r.before = times(100, "/execute", answer(200, "application/json", body))
		_, err := transport(t, r.URL).Upload(t.Context(), "x", []byte("data"))
		check(t, err, sandbox.KindLost, "instead of its path")
		if err != nil && (len(err.Error()) > 800 || strings.ContainsAny(err.Error(), "\x1b\x00\n")) {
			t.Errorf("the error is not fit to be shown: %.100q", err)
		}
	}
}

// JSON is small where values of Go are large: two bytes of it are an interface with a number in it.
func TestAnswersThatGrow(t *testing.T) {
	body := `{"detail": [` + strings.Repeat("0,", 5<<20) + `0]}`
	for _, status := range []int{200, 400, 500} {
		r := newRuntime(t)
		r.before = times(1, "/execute", answer(status, "application/json", body))
		p := transport(t, r.URL)
		var before, after gort.MemStats
		gort.ReadMemStats(&before)
		if _, err := p.Run(t.Context(), []string{"true"}); err == nil {
			t.Errorf("%d is no answer of the runtime's", status)
		}
		gort.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 200 {
			t.Errorf("%d MiB allocated for an answer of %d MiB with status %d", n, len(body)>>20, status)
		}
	}
}
