//go:build e2e

package e2e

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest"
)

// A combination is a connection and a runtime, the pool whose sandboxes have it, and the themes of the suite.
// Whether the shell in a pod keeps its promises is the same over all of them, and is checked over one. What a runtime can
// break is beginning, feeding and ending a command; what a connection can, how requests arrive, how much they carry, and
// how they are cancelled. Each check costs a pod, half a second of both cores.
type combination struct{ mode, runtime, pool, themes string }

var combinations = []combination{
	{"tunnel", "python", "python", wholeSuite[0]},
	{"tunnel", "python", "python", wholeSuite[1]},
	{"tunnel", "exec", "plain", "argv streams kill bulk cancel"},
	{"tunnel", "sandboxd", "sandboxd", "argv streams kill bulk cancel"},
	{"gateway", "python", "python", "argv cancel"},
	{"gateway-tls", "python", "python", "argv bulk cancel"},
	{"direct", "python", "python", "argv cancel"},
}

// wholeSuite are all themes, in two halves that take as long.
var wholeSuite = [2]string{
	"streams send receive argv reset network",
	"exec env kill stop processes bulk concurrent cancel release limits",
}

// insideCombinations are those that only a pod can have. TestDeploy runs them there.
var insideCombinations = []combination{
	{"pod-ip", "python", "python", "argv bulk cancel"},
	{"pod-ip", "exec", "plain", "argv cancel"},
	{"pod-ip", "sandboxd", "sandboxd", "argv cancel"},
	{"dns", "python", "service", "argv cancel"},
}

// Of a process that runs the suite, and nothing else: MODE RUNTIME POOL THEME..., and the namespace of the pool.
const suiteVar, suiteNamespaceVar = "SBXRUN_E2E_SUITE", "SBXRUN_E2E_SUITE_NAMESPACE"

func (c combination) String() string {
	return strings.TrimSpace(strings.Join([]string{c.mode, c.runtime, c.pool, c.themes}, " "))
}

// way is the mode of the name.
func (c combination) way() mode {
	modes := slices.Concat(outside, inPod)
	return modes[slices.IndexFunc(modes, func(m mode) bool { return m.name == c.mode })]
}

// TestConformance is the suite of all providers over each combination, each in a process of its own: it waits for pods most
// of the time, and measures the process that it runs in.
func TestConformance(t *testing.T) {
	w := newWorld(t, "python", 3, "plain", 2, "sandboxd", 2)
	t.Cleanup(func() { w.clean() })
	for _, c := range combinations {
		t.Run(c.mode+"/"+c.runtime+"/"+c.themes, func(t *testing.T) {
			t.Parallel()
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(self, "-test.run", "^TestSuite$", "-test.timeout", "20m")
			cmd.Env = append(os.Environ(), suiteVar+"="+c.String(), suiteNamespaceVar+"="+w.name)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestSuite is what those processes run. There is nothing in it for others.
func TestSuite(t *testing.T) {
	fields := strings.Fields(os.Getenv(suiteVar))
	if len(fields) == 0 {
		return
	}
	mode := combination{mode: fields[0]}.way()
	lacks := map[string]string{}
	if slices.Contains(fields, "network") {
		lacks["network/host is the host's network"] = "that would be a pod with hostNetwork, which is never asked for"
	}
	if slices.Contains(fields, "streams") {
		lacks["streams/one writer for both streams"] = "output is fetched: what two streams wrote since the last time has no order"
	}
	sandboxtest.Run(t, sandboxtest.Config{
		Open: func(t *testing.T, run sandbox.Run) sandbox.Provider {
			t.Helper()
			o := kubernetes.Options{Run: run, Namespace: os.Getenv(suiteNamespaceVar)}
			mode.options(&o)
			p, err := kubernetes.Open(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			return p
		},
		Spec:     sandbox.Spec{Cluster: sandbox.Cluster{WarmPool: fields[2], Runtime: fields[1]}},
		Networks: []sandbox.Network{sandbox.NetworkHost},
		Enforces: sandboxtest.Enforces{Files: true},
		Themes:   fields[3:],
		Lacks:    lacks,
	})
}
