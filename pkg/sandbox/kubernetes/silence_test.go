package kubernetes

import (
	"context"
	"net"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
)

// The kernel of a pod answers for a port whose server does not, and for one that nobody has.
func TestReachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	silent := connect.Target{PodIPs: []string{"127.0.0.1"}, Port: port}
	if !reachable(t.Context(), silent) {
		t.Error("a server that accepts and says nothing")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if !reachable(t.Context(), silent) {
		t.Error("a port that is closed")
	}
	if reachable(t.Context(), connect.Target{Port: port}) {
		t.Error("a pod without an address")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if reachable(ctx, silent) {
		t.Error("no answer in time")
	}
}
