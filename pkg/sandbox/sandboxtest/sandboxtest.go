// Package sandboxtest is the conformance suite of sandbox providers: what the contract in package sandbox promises,
// as checks that every provider passes in about twenty lines (see the fake's test). What only one provider promises
// is tested beside that provider.
package sandboxtest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Config says what provider is checked, and what it does not claim.
type Config struct {
	// Open returns a provider for a run; the suite closes it. It is called once for most checks together, and again
	// for those that close a provider.
	Open func(t *testing.T, run sandbox.Run) sandbox.Provider
	// Spec is what every sandbox is acquired with; a check sets Name, Group, Labels, Network and Limits.
	Spec sandbox.Spec
	// Enforces are the limits that strike. For the others the suite checks that the provider says so (see
	// sandbox.Warner).
	Enforces Enforces
	// Networks are those that the provider gives. For the others the suite checks that Acquire is KindUnsupported.
	Networks []sandbox.Network
	// InProcess says that the files of the sandboxes are in the memory of the test's own process, so that its size says
	// nothing about streaming.
	InProcess bool
	// Parallel says that checks may run at the same time, but for those that measure the memory of the test's process.
	Parallel bool
	// Themes are the parts of the suite that are run ("exec", "send"); none: all.
	Themes []string
	// Lacks names the checks that cannot hold, each with the reason, which is logged. A name that no check has fails.
	Lacks map[string]string
}

// Enforces says which limits a provider enforces. Timeout and output are not among them: every provider does.
type Enforces struct{ Disk, Inodes, PIDs, Memory, Files bool }

// check is one promise of the contract.
type check struct {
	name string
	run  func(t *testing.T, s *suite)
}

// groups are all checks by theme; the theme is the first part of a check's name.
var groups = []struct {
	theme  string
	checks []check
}{
	{"exec", execChecks},
	{"argv", argvChecks},
	{"streams", streamChecks},
	{"env", envChecks},
	{"kill", killChecks},
	{"stop", stopChecks},
	{"processes", processChecks},
	{"send", sendChecks},
	{"receive", receiveChecks},
	{"bulk", bulkChecks},
	{"concurrent", concurrentChecks},
	{"cancel", cancelChecks},
	{"release", releaseChecks},
	{resetTheme, resetChecks},
	{"limits", limitChecks},
	{"network", networkChecks},
}

// measures are the checks that ask how large this process is.
var measures = map[string]bool{
	"streams/64 MiB of stdin": true, "streams/64 MiB of output": true, "bulk/0 B": true, "bulk/1 MB": true, "bulk/200 MB": true,
}

// Run runs every check as a subtest named theme/check. The sandboxes need sh, coreutils and setsid, and for some of
// the checks python3, in their PATH.
func Run(t *testing.T, cfg Config) {
	t.Setenv(canary, canaryValue)
	lacks := maps.Clone(cfg.Lacks)
	s := &suite{cfg: cfg, provider: open(t, cfg)}
	for _, g := range groups {
		if len(cfg.Themes) > 0 && !slices.Contains(cfg.Themes, g.theme) {
			continue
		}
		apply := g.theme != resetTheme || s.resets(t)
		if !apply {
			t.Log("the sandboxes cannot be reset")
		}
		for _, c := range g.checks {
			name := g.theme + "/" + c.name
			if !apply {
				delete(lacks, name)
				continue
			}
			if why, lacking := lacks[name]; lacking {
				t.Logf("%s does not hold: %s", name, why)
				delete(lacks, name)
				continue
			}
			t.Run(name, func(t *testing.T) {
				if cfg.Parallel && !measures[name] {
					t.Parallel()
				}
				c.run(t, s)
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(lacks)) {
		t.Errorf("Config.Lacks names %q, which is no check", name)
	}
}

// A variable of the test's own environment: no sandbox may see it.
const canary, canaryValue = "SBXRUN_SANDBOXTEST_CANARY", "seen-by-the-sandbox"

// suite is what the checks share.
type suite struct {
	cfg      Config
	provider sandbox.Provider
}

// open returns a provider that is closed when t ends.
func open(t *testing.T, cfg Config) sandbox.Provider {
	t.Helper()
	p := cfg.Open(t, sandbox.Run{ID: fmt.Sprintf("st-%x", time.Now().UnixNano()), Dir: t.TempDir(), Size: 4})
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("closing the provider: %v", err)
		}
	})
	return p
}

// spec returns the spec of one check's sandbox.
func (s *suite) spec(t *testing.T) sandbox.Spec {
	spec := s.cfg.Spec
	spec.Name, spec.Group = "check", t.Name()
	return spec
}

// box acquires a sandbox that is released when t ends.
func (s *suite) box(t *testing.T) *box {
	t.Helper()
	return s.boxWith(t, s.spec(t))
}

func (s *suite) boxWith(t *testing.T, spec sandbox.Spec) *box {
	t.Helper()
	return acquire(t, s.provider, spec)
}

func acquire(t *testing.T, p sandbox.Provider, spec sandbox.Spec) *box {
	t.Helper()
	ctx := deadline(t)
	sb, err := p.Acquire(ctx, spec)
	if err != nil {
		t.Fatalf("acquire: %v", err)
	}
	t.Cleanup(func() {
		if err := sb.Release(context.Background()); err != nil {
			t.Errorf("release: %v", err)
		}
	})
	return &box{Sandbox: sb, t: t, ctx: ctx}
}

// hang is how long anything may take before it counts as hanging.
const hang = 5 * time.Minute

// deadline is the context of one check: what hangs is cancelled, and fails by the error that it gets.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeoutCause(t.Context(), hang, fmt.Errorf("no end after %v", hang))
	t.Cleanup(cancel)
	return ctx
}
