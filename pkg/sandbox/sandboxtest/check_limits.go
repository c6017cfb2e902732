package sandboxtest

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

var limitChecks = []check{
	{"disk", limited(func(e Enforces) bool { return e.Disk }, sandbox.Limits{Disk: 16 << 20}, "disk", func(t *testing.T, b *box) {
		got := b.sh("head -c 64000000 /dev/zero > big")
		if got.Limit != sandbox.LimitDisk || got.Exit == 0 {
			t.Errorf("%+v, want a failure with the limit %q", got.Result, sandbox.LimitDisk)
		}
		err := sandbox.Put(b.ctx, b, sandbox.File{Name: "more", Mode: 0o644, Size: 1 << 20}, io.LimitReader(&endless{}, 1<<20))
		wantKind(t, "send to a full disk", err, sandbox.KindNoSpace)
		b.ok("rm -f big more")
		if got := b.sh("echo x > small; exit 3"); got.Limit != sandbox.LimitNone || got.Exit != 3 {
			t.Errorf("%+v once there is room again, want exit status 3 and no limit", got.Result)
		}
	})},
	{"disk of workspace and temporary files together", limited(func(e Enforces) bool { return e.Disk }, sandbox.Limits{Disk: 16 << 20}, "disk", func(t *testing.T, b *box) {
		got := b.sh(`head -c 10000000 /dev/zero > a; head -c 10000000 /dev/zero > "$TMPDIR/b"`)
		if got.Limit != sandbox.LimitDisk || got.Exit == 0 {
			t.Errorf("%+v, want a failure with the limit %q", got.Result, sandbox.LimitDisk)
		}
	})},
	{"a full disk that the command copes with", limited(func(e Enforces) bool { return e.Disk }, sandbox.Limits{Disk: 16 << 20}, "disk", func(t *testing.T, b *box) {
		got := b.sh("head -c 64000000 /dev/zero > big || rm big")
		if got.Limit != sandbox.LimitNone || got.Exit != 0 {
			t.Errorf("%+v, want success without a limit", got.Result)
		}
	})},
	{"inodes", limited(func(e Enforces) bool { return e.Inodes }, sandbox.Limits{Inodes: 300}, "inodes", func(t *testing.T, b *box) {
		got := b.sh("for i in $(seq 1000); do : > f$i || exit 4; done")
		if got.Limit != sandbox.LimitDisk || got.Exit == 0 {
			t.Errorf("%+v, want a failure with the limit %q", got.Result, sandbox.LimitDisk)
		}
		var many []entry
		for i := range 300 {
			many = append(many, entry{name: fmt.Sprint("n", i)})
		}
		wantKind(t, "send", b.Send(b.ctx, "more", bytes.NewReader(pack(t, many...))), sandbox.KindNoSpace)
	})},
	{"pids", limited(func(e Enforces) bool { return e.PIDs }, sandbox.Limits{PIDs: 24}, "pids", func(t *testing.T, b *box) {
		got := b.sh("for i in $(seq 100); do sleep 5 & done; wait")
		if got.Limit != sandbox.LimitPIDs || got.Exit == 0 {
			t.Errorf("%+v, want a failure with the limit %q", got.Result, sandbox.LimitPIDs)
		}
	})},
	{"memory", limited(func(e Enforces) bool { return e.Memory }, sandbox.Limits{Memory: 64 << 20}, "memory", func(t *testing.T, b *box) {
		// tail keeps it all, and cannot get rid of it while nobody reads: a provider may look only now and then.
		got := b.sh(`head -c 400000000 /dev/zero | tail -c 399999999 | { sleep 2; test "$(wc -c)" -eq 399999999; }`)
		if got.Limit != sandbox.LimitOOM || got.Exit == 0 {
			t.Errorf("%+v, want a failure with the limit %q", got.Result, sandbox.LimitOOM)
		}
		if !got.SandboxDied {
			b.usable()
		}
	})},
	{"disk is not counted as memory", limited(func(e Enforces) bool { return e.Memory && e.Disk }, sandbox.Limits{Memory: 64 << 20, Disk: 256 << 20}, "memory", func(t *testing.T, b *box) {
		b.ok("for i in 1 2 3 4; do head -c 200000000 /dev/zero > big; done")
		got := b.sh("head -c 200000000 /dev/zero > more")
		if got.Limit != sandbox.LimitDisk {
			t.Errorf("%+v, want the limit %q", got.Result, sandbox.LimitDisk)
		}
	})},
	{"descriptors", limited(func(e Enforces) bool { return e.Files }, sandbox.Limits{Files: 64}, "files", func(t *testing.T, b *box) {
		b.prints("ulimit -Sn; ulimit -Hn", "64\n64\n")
	})},
	{"a failure is no limit", func(t *testing.T, s *suite) {
		b := s.box(t)
		for _, script := range []string{"exit 1", "cat none", "kill -9 $$"} {
			if got := b.sh(script); got.Limit != sandbox.LimitNone {
				t.Errorf("%q: %+v, want no limit", script, got.Result)
			}
		}
	}},
	{"a limit strikes one sandbox", func(t *testing.T, s *suite) {
		if !s.cfg.Enforces.Disk {
			return // "disk" has checked that it is announced
		}
		spec := s.spec(t)
		spec.Limits.Disk = 16 << 20
		small, other := s.boxWith(t, spec), s.boxWith(t, spec)
		small.sh("head -c 64000000 /dev/zero > big")
		other.ok("head -c 8000000 /dev/zero > fits")
	}},
}

// limited is a check in a sandbox with limits. Where the provider does not enforce them it has to say so, by the name that a
// recipe gives the limit.
func limited(enforced func(Enforces) bool, limits sandbox.Limits, name string, run func(*testing.T, *box)) func(*testing.T, *suite) {
	return func(t *testing.T, s *suite) {
		spec := s.spec(t)
		spec.Limits = limits
		if enforced(s.cfg.Enforces) {
			run(t, s.boxWith(t, spec))
			return
		}
		w, ok := s.provider.(sandbox.Warner)
		if !ok {
			t.Fatalf("the provider neither enforces %s nor implements sandbox.Warner to say so", name)
		}
		if lines := w.Warnings(spec); !strings.Contains(strings.Join(lines, "\n"), name) {
			t.Errorf("the provider does not enforce %s, and its warnings do not say so: %q", name, lines)
		}
	}
}
