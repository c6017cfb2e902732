package local

import (
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest"
)

func TestBareConformance(t *testing.T) {
	sandboxtest.Run(t, sandboxtest.Config{
		Open:     open,
		Spec:     sandbox.Spec{Local: sandbox.Local{Isolation: sandbox.IsolationNone}},
		Networks: []sandbox.Network{sandbox.NetworkHost},
	})
}
