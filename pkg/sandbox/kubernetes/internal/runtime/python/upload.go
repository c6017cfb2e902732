package python

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
)

// The ways of Upload, from the best to the last. A way that was refused is not tried again in the same sandbox.
const (
	whole         int32 = iota // one upload
	inPieces                   // uploads of pieceSize: something on the way takes no larger ones, or not in time
	inSmallPieces              // uploads of smallPiece
	asCommand                  // commands with commandPiece of the data as an argument: the runtime cannot write to /app
)

const (
	pieceSize  = 512 << 10 // proxies take 1 MiB unless told otherwise
	smallPiece = 64 << 10
	// 32 KiB in base64: Python's shlex takes 25 ms for it, and 80 ms for twice as much. Linux takes 128 KiB as one argument.
	commandPiece = 24 << 10
)

var (
	errTooLarge    = errors.New("the request is too large for something on the way")
	errTooSlow     = errors.New("the upload did not end in time")
	errNotWritable = errors.New("the runtime cannot write to /app")
)

// Upload stores data as a file called name and returns its path. The same name again replaces it, so that what got no
// answer is sent again. Each request has shell.MaxRun, all of them together what ctx has.
func (t *Transport) Upload(ctx context.Context, name string, data []byte) (string, error) {
	for {
		var at string
		var err error
		way := t.files.Load()
		switch way {
		case whole:
			at, err = t.store(ctx, name, data)
		case inPieces, inSmallPieces:
			size := pieceSize
			if way == inSmallPieces {
				size = smallPiece
			}
			at, err = t.pieces(ctx, name, data, size, func(piece string, data []byte) (string, error) {
				return t.store(ctx, piece, data)
			})
		default:
			folder := ""
			at, err = t.pieces(ctx, name, data, commandPiece, func(piece string, data []byte) (string, error) {
				at, err := t.script(ctx, storeScript, folder, piece, base64.StdEncoding.EncodeToString(data))
				folder = path.Dir(at)
				return at, err
			})
		}
		switch {
		case way < inSmallPieces && (errors.Is(err, errTooLarge) || errors.Is(err, errTooSlow)):
			t.files.CompareAndSwap(way, way+1)
		case errors.Is(err, errNotWritable) && way < asCommand:
			t.files.Store(asCommand)
		case errors.Is(err, errTooLarge):
			return "", t.failure("send", sandbox.KindUnsupported, fmt.Errorf("not even with %d KiB: %w", smallPiece>>10, err))
		default:
			return at, err
		}
	}
}

// store uploads one file to /app.
func (t *Transport) store(ctx context.Context, name string, data []byte) (string, error) {
	route, err := t.connector.Route(ctx, t.target)
	if err != nil {
		return "", t.unanswered(ctx, "send", err)
	}
	var frame bytes.Buffer
	form := multipart.NewWriter(&frame)
	if _, err := form.CreateFormFile("file", name); err != nil {
		return "", err
	}
	head := frame.Len()
	if err := form.Close(); err != nil {
		return "", err
	}
	before, after := frame.Bytes()[:head], frame.Bytes()[head:]
	body := func() (io.Reader, error) {
		return sized{io.MultiReader(bytes.NewReader(before), bytes.NewReader(data), bytes.NewReader(after)), frame.Len() + len(data)}, nil
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPost, route.URL+"/upload", retryablehttp.ReaderFunc(body))
	if err != nil {
		return "", err
	}
	req.Header = route.Header.Clone()
	req.Header.Set("Content-Type", form.FormDataContentType())
	a, err := t.send(route.Client, req, len(data) <= smallPiece)
	if err != nil {
		return "", t.unanswered(ctx, "send", err)
	}
	if err := t.stored(a); err != nil {
		return "", err
	}
	t.worked.Store(true)
	return "/app/" + name, nil
}

type sized struct {
	io.Reader
	n int
}

func (s sized) Len() int { return s.n }

// stored says what the runtime's, or another's, answer to an upload means.
func (t *Transport) stored(a answer) error {
	said := a.said()
	switch {
	case a.status == http.StatusRequestEntityTooLarge:
		return errTooLarge
	case a.status == http.StatusBadRequest && strings.Contains(said, "parsing the body"):
		return errNotWritable // it keeps what it reads in a temporary file
	case a.status == http.StatusInternalServerError && strings.Contains(said, "File upload failed"):
		switch number(said) {
		case 1, 2, 13, 20, 30: // EPERM, ENOENT, EACCES, ENOTDIR, EROFS
			return errNotWritable
		case 28, 122: // ENOSPC, EDQUOT
			return t.failure("send", sandbox.KindNoSpace, errors.New(said))
		}
		return t.failure("send", sandbox.KindInternal, errors.New(said))
	case a.status == http.StatusForbidden && said == "Access denied":
		return errNotWritable // /app, or the file, is a symlink that leads elsewhere
	}
	return t.check("send", a)
}

// pieces stores the data in pieces, and makes one file of them where they are. Pieces of each size, and the file, have names
// of their own: what another way has sent may still arrive.
func (t *Transport) pieces(ctx context.Context, name string, data []byte, size int, store func(name string, data []byte) (string, error)) (string, error) {
	n, dir := 0, ""
	made := fmt.Sprintf("%s.%dk", name, size>>10)
	for rest := data; n == 0 || len(rest) > 0; n++ {
		piece := rest[:min(len(rest), size)]
		at, err := store(made+"."+strconv.Itoa(n), piece)
		if err != nil {
			return "", err
		}
		dir, rest = path.Dir(at), rest[len(piece):]
	}
	return t.script(ctx, joinScript, dir, made, strconv.Itoa(n), strconv.Itoa(len(data)), name)
}

// storeScript stores base64 ($3) as file $2 in folder $1, or in the first that can be written where $1 is empty.
const storeScript = `umask 077
for d in "$1" "${TMPDIR:-/tmp}" /tmp /var/tmp /dev/shm; do
	[ -n "$d" ] || continue
	[ "$d" = "$1" ] || d=$d/.sbxrun-files
	mkdir -p "$d" 2>/dev/null && cd "$d" && [ -w . ] || continue
	t=.$2.$$
	if command -v base64 >/dev/null; then printf %s "$3" | base64 -d >"$t"
	else python3 -c 'import base64, sys; sys.stdout.buffer.write(base64.b64decode(sys.argv[1]))' "$3" >"$t"; fi || { rm -f "$t"; exit 72; }
	mv -f "$t" "$2" || exit 72
	printf %s "$PWD/$2"
	exit 0
done
echo "no folder can be written: /app, TMPDIR, /tmp, /var/tmp, /dev/shm" >&2
exit 71`

// joinScript makes file $2 in folder $1 of its $3 pieces, $4 bytes together, and removes all else that was uploaded for $5.
// Where the pieces are gone and the file is complete, it has been done.
const joinScript = `umask 077
cd "$1" || exit 72
if [ -e "$2.0" ]; then
	t=.$2.$$ i=0
	while [ $i -lt $3 ]; do cat "$2.$i" || { rm -f "$t"; exit 72; }; i=$((i+1)); done >"$t" || { rm -f "$t"; exit 72; }
	mv -f "$t" "$2" || exit 72
	for f in "$5" "$5".*; do [ "$f" = "$2" ] || rm -f "$f"; done
fi
n=$(wc -c <"$2") || exit 72
[ $n -eq $4 ] || { echo "$2 has $n bytes of $4" >&2; exit 72; }
printf %s "$PWD/$2"`

// longestPath is Linux's PATH_MAX.
const longestPath = 4096

// script runs a script that may be run again, until it answers, and returns the path that it printed. Code in the
// sandbox may have replaced what it runs.
func (t *Transport) script(ctx context.Context, script string, args ...string) (string, error) {
	argv := append([]string{"sh", "-c", script, "sh"}, args...)
	for try := 0; ; try++ {
		r, err := t.Run(ctx, argv)
		_, typed := errors.AsType[*sandbox.Error](err)
		switch {
		case err == nil && r.Exit == 0:
			if at := string(r.Stdout); path.IsAbs(at) && len(at) <= longestPath && oneLine(at, longestPath) == at {
				return at, nil
			}
			return "", t.wrong("send", fmt.Errorf("storing a file answered %q instead of its path", oneLine(string(r.Stdout[:min(len(r.Stdout), longestPath)]), 300)))
		case err == nil:
			return "", t.scriptFailure(r.Exit, oneLine(string(r.Stderr), 300))
		case typed || try == retries:
			return "", err
		}
		if err := pause(ctx, try); err != nil {
			return "", t.unanswered(ctx, "send", err)
		}
	}
}

func (t *Transport) scriptFailure(exit int, said string) error {
	switch {
	case exit == 71:
		return t.failure("send", sandbox.KindUnsupported, fmt.Errorf("%s; mount an emptyDir at /tmp", said))
	case strings.Contains(said, "No space left") || strings.Contains(said, "uota exceeded"):
		return t.failure("send", sandbox.KindNoSpace, errors.New(said))
	}
	return t.failure("send", sandbox.KindInternal, fmt.Errorf("storing a file ended with status %d: %s", exit, said))
}

// retries is how often what may be sent again is.
const retries = 4

// send sends a request that may be sent again until it is answered, each time with the limit of a Run. One that takes
// longer is errTooSlow, unless it is as small as it can be.
func (t *Transport) send(client *http.Client, req *retryablehttp.Request, small bool) (answer, error) {
	limited := *client
	limited.Timeout = t.limit
	c := retryablehttp.Client{
		HTTPClient: &limited, RetryMax: retries, RetryWaitMin: 200 * time.Millisecond, RetryWaitMax: 3 * time.Second,
		Backoff: retryablehttp.DefaultBackoff, ErrorHandler: retryablehttp.PassthroughErrorHandler,
		CheckRetry: func(ctx context.Context, resp *http.Response, err error) (bool, error) {
			if !small && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
				return false, errTooSlow
			}
			return again(ctx, resp, err)
		},
	}
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	return read(resp)
}

// again repeats what got no answer: neither from the runtime nor one that will be the same again.
func again(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err != nil {
		_, typed := errors.AsType[*sandbox.Error](err)
		_, redirect := errors.AsType[*connect.RedirectError](err)
		return !typed && !redirect, nil
	}
	switch resp.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true, nil
	}
	return false, nil
}
