package fake_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest/fake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	sandboxtest.Run(t, sandboxtest.Config{
		Open: func(t *testing.T, run sandbox.Run) sandbox.Provider {
			p, err := fake.Open(t.Context(), fake.Options{Run: run, Networks: []sandbox.Network{}})
			if err != nil {
				t.Fatal(err)
			}
			return p
		},
		Enforces:  sandboxtest.Enforces{Disk: true, Inodes: true},
		InProcess: true,
		Lacks: map[string]string{
			"receive/sockets come without content": "no program in memory makes sockets",
		},
	})
}
