package connect_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
)

// Whoever answers with another protocol takes the connection out of net/http's hands, and out of those of every
// deadline.
func TestOtherProtocolsAreNotSpoken(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: silence\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn) // until the client closes
	}()
	result := make(chan error, 1)
	go func() {
		_, err := post(t, direct(t, w, "http://"+l.Addr().String(), connect.Options{}), "x")
		result <- err
	}()
	select {
	case err := <-result:
		if err == nil || !strings.Contains(err.Error(), "another protocol") {
			t.Errorf("error %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the request hangs")
	}
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("the connection stays open")
	}
}
