package python

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// check says what a status other than 200 means, and whose it is.
func (t *Transport) check(op string, a answer) error {
	if a.status == http.StatusOK && !a.html() {
		return nil
	}
	said := a.said()
	switch {
	case a.status >= 500, a.status == http.StatusRequestTimeout, a.status == http.StatusTooManyRequests:
		// The router's own time limits are among these: the command may well run on.
		hint := ""
		if !t.worked.Load() {
			hint = fmt.Sprintf(" (if no python runtime listens on port %d of the sandbox, correct the recipe's `runtime` and `port`)", t.target.Port)
		}
		return fmt.Errorf("%s answered %d: %s%s", a.url, a.status, said, hint)
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden:
		return t.wrong(op, fmt.Errorf("%s does not let this in (%d): give a bearer token that it accepts with --token-file: %s", a.url, a.status, said))
	case a.status == http.StatusBadRequest && !a.html():
		return t.wrong(op, fmt.Errorf("%s refuses the request (400): %s", a.url, said))
	case a.status == http.StatusRequestEntityTooLarge:
		return t.wrong(op, fmt.Errorf("%s takes no request of this size (413): raise its limit to 9 MiB (nginx: client_max_body_size): %s", a.url, said))
	}
	return t.stranger(op, a)
}

// stranger is the error of an answer that neither a router nor the runtime gives.
func (t *Transport) stranger(op string, a answer) error {
	what := fmt.Sprintf("%s answered %d, %q", a.url, a.status, a.said())
	switch {
	case a.html():
		what += ", a web page: this is no sandbox router; correct the gateway or --api-url"
	case a.status == http.StatusNotFound, a.status == http.StatusMethodNotAllowed:
		what += ": this is neither a sandbox router nor the python runtime; correct --connection, or the recipe's `runtime` and `port`"
	default:
		what += ": this is not the python runtime; correct the recipe's `runtime` and `port`"
	}
	return t.wrong(op, errors.New(what))
}

func (a answer) html() bool {
	return strings.HasPrefix(a.kind, "text/html") || bytes.HasPrefix(bytes.TrimSpace(a.body), []byte("<"))
}

// said is what people should read of an answer: the text in the JSON of routers ("detail") and runtime ("message"), or
// the beginning of whatever it is, on one line. What is too long for either is no such JSON, which as values of Go would
// take thirty times its length.
func (a answer) said() string {
	const most = 4 << 10
	text := string(a.body[:min(len(a.body), most)])
	var j struct{ Detail, Message any }
	if len(a.body) <= most && json.Unmarshal(a.body, &j) == nil {
		for _, v := range []any{j.Detail, j.Message} {
			if v != nil {
				text = fmt.Sprint(v)
			}
		}
	}
	return oneLine(text, 300)
}

// oneLine makes of a foreign text one that is safe to show.
func oneLine(s string, most int) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// failed begins stderr when the runtime itself failed.
const failed = "Failed to execute command: "

var errno = regexp.MustCompile(`\[Errno (\d+)\]`)

// number is the errno in a message of Python's OSError, zero without one.
func number(message string) int {
	m := errno.FindStringSubmatch(message)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1]) // digits, and too many of them are no errno either
	return n
}

// refused says why the runtime did not run a command, or has no output of it. It is nil where the command itself ended with 1.
func (t *Transport) refused(stderr string, argv []string) error {
	why, ok := strings.CutPrefix(stderr, failed)
	if !ok {
		return nil
	}
	why = oneLine(why, 500)
	final := func(kind sandbox.Kind, hint string) error {
		return t.failure("exec", kind, fmt.Errorf("%s: %s", hint, why))
	}
	switch number(why) {
	case 1, 13: // EPERM, EACCES
		return final(sandbox.KindUnsupported, "the python runtime may not start "+argv[0])
	case 2, 20: // ENOENT, ENOTDIR
		if strings.Contains(why, "'/app'") {
			return final(sandbox.KindUnsupported, "the image has no folder /app, where the python runtime starts commands")
		}
		return final(sandbox.KindUnsupported, "the image has no program "+argv[0])
	case 7: // E2BIG
		return final(sandbox.KindInternal, "the command is too long for the sandbox")
	case 8: // ENOEXEC
		return final(sandbox.KindUnsupported, argv[0]+" of the image cannot be run on its node's architecture")
	}
	switch {
	case strings.Contains(why, "timed out after"):
		return fmt.Errorf("the python runtime ended a command at its own time limit, SANDBOX_EXEC_TIMEOUT_SECONDS of its container, which should be 30 or more: %s", why)
	case strings.Contains(why, "codec can't decode"):
		return fmt.Errorf("the output of a command is not text, which the python runtime cannot carry: %s", why)
	}
	// No process, memory or descriptor left: code in the sandbox may give them back.
	return fmt.Errorf("the python runtime could not run a command: %s", why)
}
