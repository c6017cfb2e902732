package portforward_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	"golang.org/x/net/nettest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"

	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/portforward"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/portforward/forwardtest"
)

func TestMain(m *testing.M) {
	klog.SetLogger(logr.Discard())
	goleak.VerifyTestMain(m,
		// The library of the streams gives one that nobody answers half a minute, whatever became of its session, and the end
		// of a broken session a second.
		goleak.IgnoreTopFunction("github.com/moby/spdystream.(*Stream).WaitTimeout"),
		goleak.IgnoreTopFunction("github.com/moby/spdystream.(*Connection).shutdown"),
		// Kept for the next user of the same API server.
		goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"))
}

const echoPort, refusedPort = 7, 9

// listener is a server in the pod.
func listener(t *testing.T, serve func(net.Conn)) (dial func(string, int) (net.Conn, error)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		tasks.Wait()
	})
	return func(_ string, port int) (net.Conn, error) {
		if port == refusedPort {
			return nil, errors.New("failed to connect to localhost:9: dial tcp4 127.0.0.1:9: connect: connection refused")
		}
		return net.Dial("tcp", l.Addr().String())
	}
}

func echo(c net.Conn) { _, _ = io.Copy(c, c) }

// only lets one of the two protocols through.
func only(method string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == method {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"pods \"p\" is forbidden: User \"u\" cannot get resource \"pods/portforward\""}`)
		return true
	}
}

// protocols runs a test over WebSocket and over the upgraded request that comes where that is refused.
func protocols(t *testing.T, f func(t *testing.T, start func(*forwardtest.Server) *portforward.Session)) {
	for name, method := range map[string]string{"websocket": http.MethodGet, "upgrade": http.MethodPost} {
		t.Run(name, func(t *testing.T) {
			f(t, func(s *forwardtest.Server) *portforward.Session {
				s.Refuse = only(method)
				return session(t, s)
			})
		})
	}
}

func session(t *testing.T, s *forwardtest.Server) *portforward.Session {
	t.Helper()
	s.Start()
	t.Cleanup(s.Close)
	f, err := portforward.Forward(t.Context(), s.Rest(), "ns", "p")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func dial(t *testing.T, s *portforward.Session, port int) net.Conn {
	t.Helper()
	c, err := s.Dial(t.Context(), port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestStreamsAreConnections(t *testing.T) {
	protocols(t, func(t *testing.T, start func(*forwardtest.Server) *portforward.Session) {
		accepted := make(chan net.Conn)
		s := start(&forwardtest.Server{Dial: func(string, int) (net.Conn, error) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			defer l.Close()
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				return nil, err
			}
			other, err := l.Accept()
			if err != nil {
				return nil, err
			}
			accepted <- other
			return c, nil
		}})
		nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
			if c1, err = s.Dial(t.Context(), 1); err != nil {
				return nil, nil, nil, err
			}
			c2 = <-accepted
			return c1, c2, func() { c1.Close(); c2.Close() }, nil
		})
	})
}

func TestManyStreamsOfOneSession(t *testing.T) {
	protocols(t, func(t *testing.T, start func(*forwardtest.Server) *portforward.Session) {
		s := start(&forwardtest.Server{Dial: listener(t, echo)})
		var tasks sync.WaitGroup
		for range 40 {
			tasks.Go(func() {
				c := dial(t, s, echoPort)
				defer c.Close()
				sent := make([]byte, 200<<10)
				rand.Read(sent)
				go func() {
					c.Write(sent)
					c.(interface{ CloseWrite() error }).CloseWrite()
				}()
				got, err := io.ReadAll(c)
				if err != nil || !bytes.Equal(got, sent) {
					t.Errorf("%d bytes came back of %d: %v", len(got), len(sent), err)
				}
			})
		}
		tasks.Wait()
		eventually(t, "no stream is open", func() bool { return s.Open() == 0 })
	})
}

func TestAnErrorEndsItsStreamOnly(t *testing.T) {
	protocols(t, func(t *testing.T, start func(*forwardtest.Server) *portforward.Session) {
		s := start(&forwardtest.Server{Dial: listener(t, echo)})
		good := dial(t, s, echoPort)
		bad := dial(t, s, refusedPort)
		_, err := bad.Read(make([]byte, 1))
		if !errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, portforward.ErrLost) || !strings.Contains(err.Error(), "port 9 of pod ns/p") {
			t.Errorf("Read: %v", err)
		}
		if _, err := bad.Write([]byte("x")); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Write: %v", err)
		}
		if _, err := io.WriteString(good, "ping"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(good, make([]byte, 4)); err != nil {
			t.Error(err)
		}
	})
}

func TestThePodClosesFirst(t *testing.T) {
	got := make(chan string, 1)
	s := session(t, &forwardtest.Server{Dial: listener(t, func(c net.Conn) {
		io.WriteString(c, "bye")
		b, _ := io.ReadAll(c)
		got <- string(b)
	})})
	c := dial(t, s, 1)
	if _, err := io.ReadFull(c, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "and you"); err != nil {
		t.Fatal(err)
	}
	c.(interface{ CloseWrite() error }).CloseWrite()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("Read = %d, %v", n, err)
	}
	if b := <-got; b != "and you" {
		t.Errorf("the pod read %q", b)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after CloseWrite: %v", err)
	}
}

func TestALostSession(t *testing.T) {
	protocols(t, func(t *testing.T, start func(*forwardtest.Server) *portforward.Session) {
		server := &forwardtest.Server{Dial: listener(t, echo)}
		s := start(server)
		c := dial(t, s, echoPort)
		server.Cut()
		if _, err := io.ReadAll(c); !errors.Is(err, portforward.ErrLost) {
			t.Errorf("Read: %v, want the loss and not the end of the data", err)
		}
		<-s.Lost()
		if _, err := s.Dial(t.Context(), echoPort); !errors.Is(err, portforward.ErrLost) {
			t.Errorf("Dial: %v", err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, portforward.ErrLost) {
			t.Errorf("Write: %v", err)
		}
	})
}

func TestStreamsThatNobodyAnswers(t *testing.T) {
	server := &forwardtest.Server{Stall: true}
	s := session(t, server)
	ctx, cancel := context.WithCancelCause(t.Context())
	failed := make(chan error, 2)
	go func() {
		_, err := s.Dial(ctx, 1)
		failed <- err
	}()
	go func() {
		_, err := s.Dial(t.Context(), 1)
		failed <- err
	}()
	eventually(t, "both wait", func() bool { return server.Stalled() == 2 })
	over := errors.New("over")
	cancel(over)
	if err := <-failed; !errors.Is(err, over) {
		t.Errorf("cancelled: %v", err)
	}
	server.Cut()
	if err := <-failed; !errors.Is(err, portforward.ErrLost) {
		t.Errorf("cut: %v", err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	s := session(t, &forwardtest.Server{Dial: listener(t, echo)})
	c := dial(t, s, echoPort)
	read := make(chan error)
	go func() {
		_, err := c.Read(make([]byte, 1))
		read <- err
	}()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-read; !errors.Is(err, portforward.ErrLost) {
		t.Errorf("Read: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
	c.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}
	if err := c.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("SetDeadline after Close: %v", err)
	}
}

func TestAReaderThatWaitsForNothingIsReleasedByItsDeadline(t *testing.T) {
	s := session(t, &forwardtest.Server{Dial: listener(t, echo)})
	c := dial(t, s, echoPort)
	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	answer := func(code int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(code)
			io.WriteString(w, body)
			return true
		}
	}
	status := func(code int, reason, message string) string {
		return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d,"message":%q}`, reason, code, message)
	}
	for name, c := range map[string]struct {
		code int
		body string
		is   func(error) bool
		says string
	}{
		"not found":    {404, status(404, "NotFound", `pods "p" not found`), apierrors.IsNotFound, `pods "p" not found`},
		"forbidden":    {403, status(403, "Forbidden", "no portforward for you"), apierrors.IsForbidden, "no portforward for you"},
		"unauthorized": {401, status(401, "Unauthorized", "Unauthorized"), apierrors.IsUnauthorized, "Unauthorized"},
		"proxy":        {502, "<html>Bad Gateway</html>", apierrors.IsInternalError, "Bad Gateway"},
		"no upgrade":   {200, "hello", func(err error) bool { return !apierrors.IsNotFound(err) }, "pods/portforward"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &forwardtest.Server{Refuse: answer(c.code, c.body)}
			s.Start()
			defer s.Close()
			_, err := portforward.Forward(t.Context(), s.Rest(), "ns", "p")
			if err == nil || !c.is(err) && name != "proxy" || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "pod ns/p") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAnAPIServerThatDoesNotAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &forwardtest.Server{}
	s.Start()
	defer s.Close()
	config := s.Rest()
	config.Host = "https://" + l.Addr().String() // it accepts connections, and that is all
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := portforward.Forward(ctx, config, "ns", "p"); err == nil {
		t.Error("no error")
	}
	l.Close()
	if _, err := portforward.Forward(t.Context(), config, "ns", "p"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 1000 {
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("never: %s", what)
}
