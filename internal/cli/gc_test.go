package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The first signal ends gc also where the cluster never answers, with the exit status of an interrupt.
func TestGCInterrupted(t *testing.T) {
	asked, done := make(chan struct{}), make(chan struct{})
	var once sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(asked) })
		select {
		case <-done:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(done)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	config := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: %q}}],
contexts: [{name: c, context: {cluster: c}}]}`, server.URL)
	if err := os.WriteFile(kubeconfig, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd := newGC(stdio{out: said, err: said})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs([]string{"--provider", "kubernetes", "--kubeconfig", kubeconfig})
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(t.Context()) }()
	select {
	case <-asked: // and so the signals are followed
	case err := <-ended:
		t.Fatalf("gc ended before it asked the cluster: %v", err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		stderr, readErr := os.ReadFile(said.Name())
		if err != exitError(exitInterrupted) || readErr != nil || !bytes.Contains(stderr, []byte("sbxrun: interrupted")) {
			t.Errorf("error %v, said %q", err, stderr)
		}
	case <-time.After(time.Minute):
		t.Fatal("gc goes on after a signal")
	}
}
