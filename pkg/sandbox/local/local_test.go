package local

import (
	"context"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest"
)

func TestConformance(t *testing.T) {
	sandboxtest.Run(t, sandboxtest.Config{
		Open: func(t *testing.T, run sandbox.Run) sandbox.Provider {
			p, err := Open(context.Background(), Options{Run: run})
			if err != nil {
				t.Fatal(err)
			}
			return p
		},
		Enforces: sandboxtest.Enforces{Disk: true, Inodes: true, PIDs: true, Memory: true, Files: true},
		Networks: []sandbox.Network{sandbox.NetworkNone, sandbox.NetworkCase, sandbox.NetworkHost},
	})
}
