package podexec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/runtime/part"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

// protocols runs a test over WebSocket and over SPDY.
func protocols(t *testing.T, test func(t *testing.T, s *server)) {
	for name, plain := range map[string]bool{"websocket": false, "spdy": true} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			s.plain = plain
			test(t, s)
		})
	}
}

func TestRun(t *testing.T) {
	protocols(t, func(t *testing.T, s *server) {
		box := s.transport(Target{})
		for name, c := range map[string]struct {
			argv []string
			want shell.Reply
		}{
			"quiet":                   {[]string{"true"}, shell.Reply{}},
			"status":                  {[]string{"sh", "-c", "exit 7"}, shell.Reply{Exit: 7}},
			"signal":                  {[]string{"sh", "-c", "kill -9 $$"}, shell.Reply{Exit: 137, Stderr: []byte("*")}},
			"stdout":                  {[]string{"printf", "a\nb"}, shell.Reply{Stdout: []byte("a\nb")}},
			"stderr":                  {[]string{"sh", "-c", "echo e >&2; exit 1"}, shell.Reply{Exit: 1, Stderr: []byte("e\n")}},
			"words":                   {[]string{"printf", "[%s]", "a b", "", "'", `"$HOME"`, "a\nb", "*", "\xff", "-n"}, shell.Reply{Stdout: []byte("[a b][]['][\"$HOME\"][a\nb][*][\xff][-n]")}},
			"no stdin":                {[]string{"cat"}, shell.Reply{}},
			"not found":               {[]string{"no-such-program"}, shell.Reply{Exit: 127, Stderr: []byte("*")}},
			"not executable":          {[]string{"/etc/passwd"}, shell.Reply{Exit: 126, Stderr: []byte("*")}},
			"lines like the last one": {[]string{"printf", `\nsbxrun %s ended 3\n`, "X"}, shell.Reply{Stdout: []byte("\nsbxrun X ended 3\n")}},
			"long":                    {[]string{"printf", "%s", strings.Repeat("'x", 50<<10)}, shell.Reply{Stdout: bytes.Repeat([]byte("'x"), 50<<10)}},
			"much":                    {[]string{"sh", "-c", "head -c 8388608 /dev/zero"}, shell.Reply{Stdout: make([]byte, shell.MaxReply)}},
		} {
			t.Run(name, func(t *testing.T) {
				got, err := box.Run(t.Context(), c.argv)
				if err != nil {
					t.Fatal(err)
				}
				if string(c.want.Stderr) == "*" && len(got.Stderr) > 0 {
					got.Stderr = c.want.Stderr
				}
				if got.Exit != c.want.Exit || !bytes.Equal(got.Stdout, c.want.Stdout) || !bytes.Equal(got.Stderr, c.want.Stderr) {
					t.Errorf("exit %d, stdout %.200q, stderr %.200q; want exit %d, %.200q, %.200q",
						got.Exit, got.Stdout, got.Stderr, c.want.Exit, c.want.Stdout, c.want.Stderr)
				}
			})
		}
		for _, r := range s.requests() {
			if argv := r.query["command"]; len(argv) != 1 || argv[0] != "sh" {
				t.Errorf("the URL, which is logged, has the command %q", argv)
			}
		}
	})
}

func TestUpload(t *testing.T) {
	protocols(t, func(t *testing.T, s *server) {
		box := s.transport(Target{})
		for _, size := range []int{0, 1, 100_000, 8 << 20} {
			data := bytes.Repeat([]byte("\x00\xffab\r\n"), size/6+1)[:size]
			path, err := box.Upload(t.Context(), "part-1", data)
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s has %d bytes (error %v), want %d", path, len(got), err, size)
			}
			info, err := os.Stat(filepath.Dir(path))
			if err != nil || info.Mode().Perm() != 0o700 || filepath.Dir(path) != filepath.Join(s.tmp, ".sbxrun", "parts") {
				t.Errorf("it is in %s of mode %v (error %v)", filepath.Dir(path), info.Mode(), err)
			}
		}
		left, err := filepath.Glob(filepath.Join(s.tmp, ".sbxrun", "parts", "*"))
		if err != nil || len(left) != 1 {
			t.Errorf("left behind: %q (error %v)", left, err)
		}
	})
}

// A node that goes away ends the streams as a command that succeeded does.
func TestLostNodeIsNoAnswer(t *testing.T) {
	protocols(t, func(t *testing.T, s *server) {
		s.loseAfter = 10
		box := s.transport(Target{})
		_, err := box.Run(t.Context(), []string{"echo", "hello"})
		noAnswer(t, err)
		_, err = box.Upload(t.Context(), "p", make([]byte, 1000))
		noAnswer(t, err)
	})
}

func TestHalfAnInputIsNotStored(t *testing.T) {
	s := serve(t)
	box := s.transport(Target{})
	a, err := box.exec(t.Context(), "send", part.Command("p", 1000), strings.NewReader("half"))
	if err != nil {
		t.Fatal(err)
	}
	if a.exit == 0 || len(a.stdout) > 0 {
		t.Errorf("status %d, stdout %q", a.exit, a.stdout)
	}
	if left, _ := filepath.Glob(filepath.Join(s.tmp, ".sbxrun", "parts", "*")); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// An upload of which nothing moves any more is no answer, however much time it has.
func TestUploadThatStandsStill(t *testing.T) {
	s := serve(t)
	s.deaf = make(chan struct{})
	defer close(s.deaf)
	box := s.transport(Target{})
	box.client.still = 500 * time.Millisecond
	_, err := box.Upload(t.Context(), "p", make([]byte, shell.MaxPart))
	if noAnswer(t, err); !errors.Is(err, errStill) {
		t.Errorf("error %v", err)
	}
}

// Credentials that end in mid-run end nothing: the first 401 has them renewed.
func TestTokenExpiresMeanwhile(t *testing.T) {
	s := serve(t)
	var first atomic.Pointer[http.Request]
	s.refuse = func(r *http.Request, _ bool) *metav1.Status {
		first.CompareAndSwap(nil, r)
		if first.Load() == r {
			return &metav1.Status{Code: http.StatusUnauthorized, Reason: metav1.StatusReasonUnauthorized}
		}
		return nil
	}
	r, err := s.transport(Target{}).Run(t.Context(), []string{"echo", "x"})
	if err != nil || string(r.Stdout) != "x\n" || first.Load() == nil {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestErrors(t *testing.T) {
	status := func(code int32, reason metav1.StatusReason, text string) func(*http.Request, bool) *metav1.Status {
		return func(*http.Request, bool) *metav1.Status {
			return &metav1.Status{Code: code, Reason: reason, Message: text}
		}
	}
	const none = sandbox.Kind(-1) // no answer
	for name, c := range map[string]struct {
		refuse func(*http.Request, bool) *metav1.Status
		text   string
		want   sandbox.Kind
		says   string
	}{
		"forbidden":         {status(403, metav1.StatusReasonForbidden, `pods "box" is forbidden: User "u" cannot get resource "pods/exec"`), "", sandbox.KindUnsupported, `resources: [pods/exec], verbs: [create, get]`},
		"not authenticated": {status(401, metav1.StatusReasonUnauthorized, "Unauthorized"), "", sandbox.KindUnsupported, "credentials"},
		"pod gone":          {status(404, metav1.StatusReasonNotFound, `pods "box" not found`), "", sandbox.KindLost, "the pod is gone"},
		"wrong container":   {status(400, metav1.StatusReasonBadRequest, "container x is not valid for pod box"), "", sandbox.KindUnsupported, "default-container"},
		"too busy":          {status(429, metav1.StatusReasonTooManyRequests, "slow down"), "", none, "slow down"},
		"node away":         {status(500, metav1.StatusReasonInternalError, "error dialing backend: connection refused"), "", none, "dialing backend"},
		"container gone":    {nil, `Internal error occurred: unable to upgrade connection: container not found ("one")`, sandbox.KindLost, "the container is gone"},
		"task gone":         {nil, `error executing command in container: failed to exec in container: failed to create exec "3f5": task 0409 not found: not found`, sandbox.KindLost, "the container is gone"},
		"gone at the node":  {status(500, metav1.StatusReasonInternalError, `container not found ("one")`), "", sandbox.KindLost, "the container is gone"},
		"container exited":  {nil, `failed to exec in container: container is in CONTAINER_EXITED state`, sandbox.KindLost, "the container is gone"},
		"no shell": {nil, `Internal error occurred: error executing command in container: failed to exec in container: failed to start exec "0": ` +
			`OCI runtime exec failed: exec failed: unable to start container process: exec: "sh": executable file not found in $PATH: unknown`, sandbox.KindUnsupported, "has no program sh"},
		"anything else": {nil, "Internal error occurred: bad day", none, "bad day"},
	} {
		for protocol, plain := range map[string]bool{"websocket": false, "spdy": true} {
			t.Run(name+" "+protocol, func(t *testing.T) {
				s := serve(t)
				s.refuse, s.text, s.plain = c.refuse, c.text, plain
				_, err := s.transport(Target{}).Run(t.Context(), []string{"true"})
				if c.want == none {
					noAnswer(t, err)
				} else if e, ok := errors.AsType[*sandbox.Error](err); !ok || e.Kind != c.want {
					t.Errorf("error %v, want one of kind %v", err, c.want)
				}
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("error %v, want %q in it", err, c.says)
				}
			})
		}
	}
}

func noAnswer(t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[*sandbox.Error](err); err == nil || ok {
		t.Errorf("error %v, want one that means no answer", err)
	}
}

func TestServerAway(t *testing.T) {
	s := serve(t)
	box := s.transport(Target{})
	s.http.Close()
	_, err := box.Run(t.Context(), []string{"true"})
	noAnswer(t, err)
}

// A role that grants "create" alone refuses WebSockets, which are requests of verb "get".
func TestForbiddenWebSocketFallsBackOnce(t *testing.T) {
	s := serve(t)
	s.refuse = func(_ *http.Request, websocket bool) *metav1.Status {
		if !websocket {
			return nil
		}
		return &metav1.Status{Code: 403, Reason: metav1.StatusReasonForbidden, Message: "cannot get pods/exec"}
	}
	box := s.transport(Target{})
	for range 3 {
		if r, err := box.Run(t.Context(), []string{"echo", "x"}); err != nil || string(r.Stdout) != "x\n" {
			t.Fatal(r, err)
		}
	}
	if n := len(s.requests()); n != 4 {
		t.Errorf("%d requests for 3 commands, want 4", n)
	}
}

func TestContainer(t *testing.T) {
	two := corev1.PodSpec{Containers: []corev1.Container{{Name: "one"}, {Name: "two"}}}
	for name, c := range map[string]struct {
		pod    corev1.Pod
		target Target
		want   []string // containers of the requests of two transports, "pod" for the question
	}{
		"the only one": {corev1.Pod{Spec: corev1.PodSpec{Containers: two.Containers[:1]}}, Target{}, []string{"", "", "", ""}},
		"named":        {corev1.Pod{Spec: two}, Target{Container: "two"}, []string{"two", "two", "two", "two"}},
		"the first":    {corev1.Pod{Spec: two}, Target{Pool: "p"}, []string{"", "pod", "one", "one", "one", "one"}},
		"annotated": {corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{defaultContainer: "two"}}, Spec: two}, Target{Pool: "p"},
			[]string{"", "pod", "two", "two", "two", "two"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			c.pod.TypeMeta = s.pod.TypeMeta
			s.pod = &c.pod
			client := s.client(Options{})
			c.target.Namespace, c.target.Pod = "ns", "box"
			for range 2 {
				box := client.Transport(c.target)
				for range 2 {
					if _, err := box.Run(t.Context(), []string{"true"}); err != nil {
						t.Fatal(err)
					}
				}
			}
			var got []string
			for _, r := range s.requests() {
				if strings.HasSuffix(r.path, "/exec") {
					got = append(got, r.query.Get("container"))
				} else {
					got = append(got, "pod")
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("requests %q, want %q", got, c.want)
			}
		})
	}
}

func TestCancelAndCloseEndTheStream(t *testing.T) {
	protocols(t, func(t *testing.T, s *server) {
		s.hang = true
		because := errors.New("because")
		for name, end := range map[string]func(*Transport, context.CancelCauseFunc){
			"cancel": func(_ *Transport, cancel context.CancelCauseFunc) { cancel(because) },
			"close":  func(box *Transport, _ context.CancelCauseFunc) { _ = box.Close() },
		} {
			box := s.transport(Target{})
			ctx, cancel := context.WithCancelCause(t.Context())
			ended := make(chan error, 1)
			go func() {
				_, err := box.Run(ctx, []string{"true"})
				ended <- err
			}()
			wait(t, func() bool { return s.running.Load() == 1 })
			end(box, cancel)
			err := <-ended
			if name == "cancel" && !errors.Is(err, because) {
				t.Errorf("error %v, want the cause", err)
			}
			if name == "close" && sandbox.KindOf(err) != sandbox.KindReleased {
				t.Errorf("error %v, want %v", err, sandbox.KindReleased)
			}
			wait(t, func() bool { return s.running.Load() == 0 })
			cancel(nil)
		}
	})
}

func wait(t *testing.T, until func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !until(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}

func TestMuchOutputEndsTheRequest(t *testing.T) {
	protocols(t, func(t *testing.T, s *server) {
		_, err := s.transport(Target{}).Run(t.Context(), []string{"sh", "-c", "while :; do echo 0123456789012345678901234567890123456789; done"})
		noAnswer(t, err)
		if !errors.Is(err, errTooMuch) {
			t.Errorf("error %v", err)
		}
		wait(t, func() bool { return s.running.Load() == 0 })
	})
}

// Many commands run at a time, though few connections are made at a time.
func TestManyAtOnce(t *testing.T) {
	s := serve(t)
	s.slow = 5 * time.Millisecond
	client := s.client(Options{Dials: 4})
	gate := filepath.Join(s.tmp, "gate")
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			box := client.Transport(Target{Namespace: "ns", Pod: "box"})
			r, err := box.Run(t.Context(), []string{"sh", "-c", `until [ -e "$1" ] || [ ! -d "${1%/*}" ]; do sleep 1; done; echo "$2"`, "sh", gate, fmt.Sprint(i)})
			if err != nil || string(r.Stdout) != fmt.Sprintln(i) {
				t.Error(r, err)
			}
		})
	}
	wait(t, func() bool { return s.running.Load() == 100 })
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if s.most > 4 {
		t.Errorf("%d connections were made at a time, want at most 4", s.most)
	}
}
