package connect_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
)

func direct(t *testing.T, w *world, url string, o connect.Options) connect.Connector {
	t.Helper()
	o.Mode, o.APIURL = connect.Direct, url
	return w.open(t, o)
}

func TestDirectKeepsThePath(t *testing.T) {
	w := newWorld(t)
	paths := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { paths <- r.URL.Path }))
	defer s.Close()
	for url, want := range map[string]string{"": "/execute", "/": "/execute", "/team/a": "/team/a/execute", "/team/a//": "/team/a/execute"} {
		if _, err := post(t, direct(t, w, s.URL+url, connect.Options{}), ""); err != nil {
			t.Fatal(err)
		}
		if got := <-paths; got != want {
			t.Errorf("%q: %q, want %q", url, got, want)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	w := newWorld(t)
	for _, code := range []int{301, 302, 303, 307, 308} {
		s := httptest.NewServer(http.RedirectHandler(w.router.URL+"/elsewhere", code))
		_, err := post(t, direct(t, w, s.URL, connect.Options{}), "x")
		redirect, ok := errors.AsType[*connect.RedirectError](err)
		if !ok || redirect.Status != code || redirect.From != s.URL+"/execute" || redirect.To != w.router.URL+"/elsewhere" {
			t.Errorf("%d: error %v", code, err)
		}
		s.Close()
	}
	if len(w.requests) != 0 {
		t.Error("a redirect was followed")
	}
}

func TestTLS(t *testing.T) {
	w := newWorld(t)
	certificate, ca := authority(t, "localhost")
	serve := func(c *tls.Config) string {
		s := httptest.NewUnstartedServer(http.HandlerFunc(w.route))
		s.TLS = c
		c.Certificates = []tls.Certificate{certificate}
		s.StartTLS()
		t.Cleanup(s.Close)
		return strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	}
	modern := serve(&tls.Config{})
	echoes(t, direct(t, w, modern, connect.Options{CAFile: ca}))

	_, err := post(t, direct(t, w, modern, connect.Options{}), "")
	fails(t, err, sandbox.KindUnsupported, "--ca-file")
	_, err = post(t, direct(t, w, strings.Replace(modern, "localhost", "127.0.0.1", 1), connect.Options{CAFile: ca}), "")
	fails(t, err, sandbox.KindUnsupported, "by the name")
	_, err = post(t, direct(t, w, strings.Replace(w.router.URL, "http:", "https:", 1), connect.Options{CAFile: ca}), "")
	fails(t, err, sandbox.KindUnsupported, "does not speak TLS")

	old := serve(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if _, err := post(t, direct(t, w, old, connect.Options{CAFile: ca}), ""); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.1: %v", err)
	}
}

func TestTokenIsReadAgainWhenItWasRefused(t *testing.T) {
	w := newWorld(t)
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer new" {
			rw.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = io.WriteString(rw, r.Header.Get("Authorization"))
	}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "old")
	c := direct(t, w, s.URL, connect.Options{TokenFile: file})
	for _, want := range []string{"Bearer old", "Bearer old", "Bearer new"} {
		if want == "Bearer new" {
			write(t, file, "new\n")
			if _, err := post(t, c, ""); err != nil { // what is refused is forgotten
				t.Fatal(err)
			}
		}
		if got, err := post(t, c, ""); err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}

func TestSandboxesNeverSeeTheToken(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "secret")
	c := w.open(t, connect.Options{Mode: connect.InCluster, PodIP: true, TokenFile: file})
	echoesAt(t, c, w.router)
	if h := w.last(); h.Get("Authorization") != "" || h.Get("X-Sandbox-Id") != "" || h.Get("X-Sandbox-Timeout") != "" {
		t.Errorf("the sandbox gets %v", h)
	}
}

// echoesAt sends a request to a server as if it were a sandbox.
func echoesAt(t *testing.T, c connect.Connector, s *httptest.Server) {
	t.Helper()
	a := s.Listener.Addr().(*net.TCPAddr)
	r, err := c.Route(t.Context(), connect.Target{Sandbox: "sb", Namespace: "ns", Port: a.Port, PodIPs: []string{a.IP.String()}})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.Client.Post(r.URL, "text/plain", strings.NewReader("ping"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "ping" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestServersThatFailAreNotFinal(t *testing.T) {
	w := newWorld(t)
	for name, handle := range map[string]func(net.Conn){
		"reset":     func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() },
		"end":       func(c net.Conn) { c.Close() },
		"cut short": func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nabc"); c.Close() },
		"not HTTP":  func(c net.Conn) { io.WriteString(c, "220 smtp ready\r\n"); c.Close() },
		"headers": func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20)+"\r\n\r\n")
			c.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					c.Read(make([]byte, 4096))
					handle(c)
				}
			}()
			_, err = post(t, direct(t, w, "http://"+l.Addr().String(), connect.Options{}), "x")
			if _, final := errors.AsType[*sandbox.Error](err); err == nil || final {
				t.Errorf("error %v", err)
			}
			l.Close()
			<-done
			_, err = post(t, direct(t, w, "http://"+l.Addr().String(), connect.Options{}), "x")
			if _, final := errors.AsType[*sandbox.Error](err); !errors.Is(err, syscall.ECONNREFUSED) || final {
				t.Errorf("nobody listens: error %v", err)
			}
		})
	}
}

func TestDial(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "from the pod's address")
			c.Close()
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	w.alive["pod-1"] = true
	w.Dial = func(pod string, _ int) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			io.WriteString(there, "by port-forward to "+pod)
			there.Close()
		}()
		return here, nil
	}
	in := connect.Target{Sandbox: "sb", Namespace: "ns", Pod: "pod-1", Port: port, PodIPs: []string{"127.0.0.1"}}
	nobody := in
	nobody.PodIPs = []string{"127.0.0.9"} // nothing listens there
	nowhere := in
	nowhere.PodIPs = nil
	for name, c := range map[string]struct {
		mode   string
		target connect.Target
		want   string
	}{
		"inside":                    {connect.InCluster, in, "from the pod's address"},
		"inside, on the loopback":   {connect.InCluster, nobody, "by port-forward to pod-1"},
		"inside, without addresses": {connect.InCluster, nowhere, "by port-forward to pod-1"},
		"outside":                   {connect.Tunnel, in, "by port-forward to pod-1"},
	} {
		t.Run(name, func(t *testing.T) {
			con := w.open(t, connect.Options{Mode: c.mode, PodIP: true})
			conn, err := con.Dial(t.Context(), c.target)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(time.Minute))
			if b, err := io.ReadAll(conn); err != nil || string(b) != c.want {
				t.Errorf("%q, %v; want %q", b, err, c.want)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDialRefusals(t *testing.T) {
	w := newWorld(t)
	w.Refuse = func(rw http.ResponseWriter, _ *http.Request) bool {
		rw.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(rw, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"message":"pods \"pod-1\" not found","details":{"name":"pod-1","kind":"pods"}}`)
		return true
	}
	c := w.open(t, connect.Options{Mode: connect.InCluster, PodIP: true})
	t9 := target
	t9.PodIPs = []string{"127.0.0.9"}
	_, err := c.Dial(t.Context(), t9)
	fails(t, err, sandbox.KindNotFound, "sb", "127.0.0.9", "connection refused", `pods "pod-1" not found`)
}

func TestCloseEndsDialedConnections(t *testing.T) {
	w := newWorld(t)
	w.Dial = func(string, int) (net.Conn, error) {
		here, there := net.Pipe()
		t.Cleanup(func() { there.Close() })
		return here, nil
	}
	c := w.open(t, connect.Options{})
	conn, err := c.Dial(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		read <- err
	}()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-read; err == nil || errors.Is(err, io.EOF) {
		t.Errorf("Read: %v", err)
	}
	conn.Close()
}

func TestFilesThatVanish(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "t")
	c := direct(t, w, w.router.URL, connect.Options{TokenFile: file})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := post(t, c, ""); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v", err)
	}
}
