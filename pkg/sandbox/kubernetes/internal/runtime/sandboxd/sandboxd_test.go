package sandboxd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"sigs.k8s.io/agent-sandbox/packages/sandboxd/pkg/server"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// way is a connector to servers on this machine. What is not Dial is not used.
type way struct {
	connect.Connector
	address string
	root    string // of the daemon
	dials   atomic.Int32
	// byAddress counts those that could have gone to the pod's address.
	byAddress atomic.Int32
	err       error

	mu    sync.Mutex
	conns []net.Conn
}

func (w *way) Dial(ctx context.Context, t connect.Target) (net.Conn, error) {
	w.dials.Add(1)
	if len(t.PodIPs) > 0 {
		w.byAddress.Add(1)
	}
	if w.err != nil {
		return nil, w.err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", w.address)
	if err == nil {
		w.mu.Lock()
		w.conns = append(w.conns, conn)
		w.mu.Unlock()
	}
	return conn, err
}

// cut breaks every connection.
func (w *way) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close()
	}
}

// daemon runs upstream's own server.
func daemon(t *testing.T) *way {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	root := t.TempDir()
	s, err := server.New(server.Options{RootDir: root, Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	w := serve(t, func(g *grpc.Server) { s.RegisterGRPC(g) })
	w.root = root
	return w
}

func serve(t *testing.T, register func(*grpc.Server)) *way {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	register(g)
	go func() { _ = g.Serve(l) }()
	t.Cleanup(g.Stop)
	return &way{address: l.Addr().String()}
}

func open(t *testing.T, w *way) *Transport {
	t.Helper()
	box := New(w, connect.Target{Sandbox: "box", Pod: "box"}, &Paths{})
	t.Cleanup(func() {
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	})
	return box
}

func TestRun(t *testing.T) {
	w := daemon(t)
	box := open(t, w)
	for name, c := range map[string]struct {
		argv []string
		want shell.Reply
	}{
		"quiet":          {[]string{"true"}, shell.Reply{}},
		"status":         {[]string{"sh", "-c", "exit 7"}, shell.Reply{Exit: 7}},
		"signal":         {[]string{"sh", "-c", "kill -9 $$"}, shell.Reply{Exit: 137}},
		"streams":        {[]string{"sh", "-c", "echo out; echo err >&2"}, shell.Reply{Stdout: []byte("out\n"), Stderr: []byte("err\n")}},
		"no stdin":       {[]string{"cat"}, shell.Reply{}},
		"not found":      {[]string{"no-such-program"}, shell.Reply{Exit: 127, Stderr: []byte("*")}},
		"not executable": {[]string{"/etc/passwd"}, shell.Reply{Exit: 126, Stderr: []byte("*")}},
		"much":           {[]string{"head", "-c", "8388608", "/dev/zero"}, shell.Reply{Stdout: make([]byte, shell.MaxReply)}},
		"long":           {[]string{"printf", "%s", strings.Repeat("'x", 50<<10)}, shell.Reply{Stdout: bytes.Repeat([]byte("'x"), 50<<10)}},
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
	if n := w.dials.Load(); n != 1 {
		t.Errorf("%d connections for one sandbox", n)
	}
}

func TestUpload(t *testing.T) {
	box := open(t, daemon(t))
	for _, size := range []int{0, 1, 100_000, 8 << 20} {
		data := bytes.Repeat([]byte("\x00\xffab\r\n"), size/6+1)[:size]
		path, err := box.Upload(t.Context(), "part-1", data)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s has %d bytes (error %v), want %d", path, len(got), err, size)
		}
	}
	left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), ".sbxrun", "parts", "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %q (error %v)", left, err)
	}
}

func TestUploadWithoutAFolder(t *testing.T) {
	box := open(t, daemon(t))
	_, err := box.Upload(t.Context(), "no/such/folder", []byte("x"))
	if e, ok := errors.AsType[*sandbox.Error](err); !ok || e.Kind != sandbox.KindInternal {
		t.Errorf("error %v", err)
	}
}

func TestMuchOutput(t *testing.T) {
	box := open(t, daemon(t))
	_, err := box.Run(t.Context(), []string{"head", "-c", fmt.Sprint(mostMessage + 1), "/dev/zero"})
	unanswered(t, err)
	if r, err := box.Run(t.Context(), []string{"echo", "x"}); err != nil || string(r.Stdout) != "x\n" {
		t.Error(r, err)
	}
}

func TestConnectionIsMadeAgain(t *testing.T) {
	w := daemon(t)
	box := open(t, w)
	go func() {
		time.Sleep(100 * time.Millisecond)
		w.cut()
	}()
	_, err := box.Run(t.Context(), []string{"sleep", "30"})
	unanswered(t, err)
	if r, err := box.Run(t.Context(), []string{"echo", "x"}); err != nil || string(r.Stdout) != "x\n" {
		t.Error(r, err)
	}
	w.cut() // while nothing runs: the next command finds out, or a new connection is made before it
	for range 2 {
		if _, err = box.Run(t.Context(), []string{"true"}); err == nil {
			break
		}
		unanswered(t, err)
	}
	if err != nil {
		t.Error(err)
	}
}

func TestUploadOverABreakingConnection(t *testing.T) {
	w := daemon(t)
	box := open(t, w)
	if _, err := box.Run(t.Context(), []string{"true"}); err != nil {
		t.Fatal(err)
	}
	go w.cut()
	if _, err := box.Upload(t.Context(), "p", make([]byte, 8<<20)); err != nil {
		unanswered(t, err)
	}
	path, err := box.Upload(t.Context(), "p", []byte("whole"))
	if err != nil { // the cut came late
		unanswered(t, err)
		path, err = box.Upload(t.Context(), "p", []byte("whole"))
	}
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "whole" {
		t.Errorf("%q, %v", b, err)
	}
}

// A call on which nothing comes is not waited for by those after it, and does not cut those beside it.
func TestSlowCallIsLeftBehind(t *testing.T) {
	w := daemon(t)
	box := open(t, w)
	gate := filepath.Join(t.TempDir(), "gate")
	beside := make(chan error, 1)
	go func() {
		_, err := box.Run(t.Context(), []string{"sh", "-c", `: >"$1.on"; until [ -e "$1" ] || [ ! -d "${1%/*}" ]; do sleep 0.1; done`, "sh", gate})
		beside <- err
	}()
	for {
		if _, err := os.Stat(gate + ".on"); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := box.Run(ctx, []string{"sleep", "30"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if _, err := box.Run(t.Context(), []string{"touch", gate}); err != nil {
		t.Error(err)
	}
	if err := <-beside; err != nil {
		t.Error(err)
	}
	if n := w.dials.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

func TestCancelAndClose(t *testing.T) {
	because := errors.New("because")
	for name, c := range map[string]struct {
		end  func(*Transport, context.CancelCauseFunc)
		want func(error) bool
	}{
		"cancel": {func(_ *Transport, cancel context.CancelCauseFunc) { cancel(because) }, func(err error) bool { return errors.Is(err, because) }},
		"close": {func(box *Transport, _ context.CancelCauseFunc) { _ = box.Close() },
			func(err error) bool { return err != nil && sandbox.KindOf(err) == sandbox.KindReleased }},
	} {
		t.Run(name, func(t *testing.T) {
			box := open(t, daemon(t))
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			time.AfterFunc(100*time.Millisecond, func() { c.end(box, cancel) })
			if _, err := box.Run(ctx, []string{"sleep", "30"}); !c.want(err) {
				t.Errorf("error %v", err)
			}
			_, err := box.Run(ctx, []string{"true"})
			if !c.want(err) {
				t.Errorf("afterwards: error %v", err)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = nobody.Close()
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close()
	go func() {
		for {
			c, err := web.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			_ = c.Close()
		}
	}()
	const none = sandbox.Kind(-1)
	for name, c := range map[string]struct {
		way  *way
		want sandbox.Kind
		says string
	}{
		"nobody listens":    {&way{address: nobody.Addr().String()}, none, "refused"},
		"no gRPC":           {&way{address: web.Addr().String()}, none, "`runtime` and `port`"},
		"another service":   {serve(t, func(*grpc.Server) {}), sandbox.KindUnsupported, "process.v1.ProcessService"},
		"no permission":     {&way{err: &sandbox.Error{Kind: sandbox.KindUnsupported, Err: errors.New("pods/portforward")}}, sandbox.KindUnsupported, "pods/portforward"},
		"API server is off": {&way{err: &sandbox.Error{Kind: sandbox.KindUnavailable, Err: errors.New("refused")}}, none, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, c.way).Run(t.Context(), []string{"true"})
			if c.want == none {
				unanswered(t, err)
			} else if e, ok := errors.AsType[*sandbox.Error](err); !ok || e.Kind != c.want {
				t.Errorf("error %v, want one of kind %v", err, c.want)
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %q in it", err, c.says)
			}
		})
	}
}

func unanswered(t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[*sandbox.Error](err); err == nil || ok {
		t.Errorf("error %v, want one that means no answer", err)
	}
}

func TestManyAtOnceOverOneConnection(t *testing.T) {
	w := daemon(t)
	box := open(t, w)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if i%10 == 0 {
				path, err := box.Upload(t.Context(), fmt.Sprintf("part-%d", i), []byte(fmt.Sprint(i)))
				if b, _ := os.ReadFile(path); err != nil || string(b) != fmt.Sprint(i) {
					t.Error(string(b), err)
				}
				return
			}
			if r, err := box.Run(t.Context(), []string{"echo", fmt.Sprint(i)}); err != nil || string(r.Stdout) != fmt.Sprintln(i) {
				t.Error(r, err)
			}
		})
	}
	wg.Wait()
	if n := w.dials.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestAddressesThatLeadNowhereAreTriedOnce(t *testing.T) {
	w := daemon(t)
	for name, c := range map[string]struct {
		ip   string
		want int32
	}{"loopback": {"192.0.2.1", 1}, "reachable": {"127.0.0.1", 3}} {
		t.Run(name, func(t *testing.T) {
			w.byAddress.Store(0)
			var paths Paths
			for range 3 {
				box := New(w, connect.Target{Namespace: "ns", Pod: "box", PodIPs: []string{c.ip}}, &paths)
				if _, err := box.Run(t.Context(), []string{"true"}); err != nil {
					t.Error(err)
				}
				_ = box.Close()
			}
			if n := w.byAddress.Load(); n != c.want {
				t.Errorf("%d tries by address, want %d", n, c.want)
			}
		})
	}
}

// A root folder that is gone looks like a program that is not there.
func TestRootFolderIsRemoved(t *testing.T) {
	w := daemon(t)
	box := open(t, w)
	if _, err := box.Run(t.Context(), []string{"sh", "-c", ":"}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(w.root); err != nil {
		t.Fatal(err)
	}
	_, err := box.Run(t.Context(), []string{"sh", "-c", ":"})
	if e, ok := errors.AsType[*sandbox.Error](err); !ok || e.Kind != sandbox.KindLost || !strings.Contains(err.Error(), "root folder") {
		t.Errorf("error %v", err)
	}
}
