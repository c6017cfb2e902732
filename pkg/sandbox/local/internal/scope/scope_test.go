package scope

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNoBus(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	if err := Start(t.Context(), "r.scope", os.Getpid()); err == nil || !strings.Contains(err.Error(), "no user bus") {
		t.Errorf("error %v", err)
	}
	// A bus that never answers does not hold up the start for ever.
	l, err := net.Listen("unix", filepath.Join(dir, "bus"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- Start(ctx, "r.scope", os.Getpid()) }()
	select {
	case err := <-done:
		if err == nil || errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("still waiting")
	}
}
