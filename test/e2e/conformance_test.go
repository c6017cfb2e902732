//go:build e2e

package e2e

import (
	"context"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest"
)

// smoke are the themes of the suite that a way to a sandbox can break by itself; whether a shell keeps its promises is
// the same on every way, and is checked on one for each runtime.
var smoke = []string{"streams", "argv", "bulk", "concurrent"}

// combination is a connection and a runtime, in a warm pool of this name.
type combination struct {
	mode, runtime, pool string
	themes              []string // nil: the whole suite
}

var combinations = []combination{
	{"tunnel", "python", "python", nil},
	{"tunnel", "exec", "plain", nil},
	{"tunnel", "sandboxd", "sandboxd", nil},
	{"gateway", "python", "python", smoke},
	{"gateway-tls", "python", "python", smoke},
	{"direct", "python", "python", smoke},
}

// TestConformance is the suite of all providers, over each way to a sandbox.
func TestConformance(t *testing.T) {
	w := newWorld(t, "python", 3)
	t.Cleanup(func() { w.clean() })
	for _, c := range combinations {
		t.Run(c.mode+"/"+c.runtime, func(t *testing.T) {
			if c.pool != "python" {
				sub := *w
				sub.t = t
				sub.pool(c.pool, 3)
			}
			conform(t, w.name, c, outside)
		})
	}
}

// conform runs the suite, or a part of it, in a namespace.
func conform(t *testing.T, namespace string, c combination, modes []mode) {
	sandboxtest.Run(t, sandboxtest.Config{
		Open: func(t *testing.T, run sandbox.Run) sandbox.Provider {
			t.Helper()
			o := kubernetes.Options{Run: run, Namespace: namespace}
			for _, m := range modes {
				if m.name == c.mode {
					m.options(&o)
				}
			}
			p, err := kubernetes.Open(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			return p
		},
		Spec:     sandbox.Spec{Cluster: sandbox.Cluster{WarmPool: c.pool, Runtime: c.runtime}},
		Enforces: sandboxtest.Enforces{Files: true},
		Networks: []sandbox.Network{sandbox.NetworkHost},
		Themes:   c.themes,
	})
}
