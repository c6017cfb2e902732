package shell_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

// What has ended and is not reaped fills a pod's limit of processes: with hundreds of such the sandbox is not used again.
func TestResetAmongZombies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		n     int
		limit string // of the pod
		fits  bool
	}{
		"few": {10, "max", true}, "hundreds": {300, "max", false}, "half the limit": {10, "20", false}, "less than that": {10, "100", true},
	} {
		s := shell.New(shell.Options{ID: "zombies", Transport: newPod(t, shells[0])})
		dump(t, s, "echo "+c.limit+" > /sys/fs/cgroup/pids.max")
		dump(t, s, fmt.Sprintf("i=0; while [ $i -lt %d ]; do (sleep 0.1 &); i=$((i + 1)); done; sleep 1", c.n))
		err := s.Reset(t.Context())
		if (err == nil) != c.fits || err != nil && !strings.Contains(err.Error(), "does not reap") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a command leaves running may write to its streams when the command is over, however short that was.
func TestLeftWriter(t *testing.T) {
	inShells(t, func(t *testing.T, sh string) {
		s := shell.New(shell.Options{ID: "left", Transport: newPod(t, sh)})
		for name, before := range map[string]string{"short": "", "long": "sleep 0.8; "} {
			flood := "yes | head -c 300000 >&2 && echo late && echo late >&2 && touch wrote." + name
			if got := dump(t, s, before+"(sleep 1; "+flood+") & echo started"); got != "started\n" {
				t.Errorf("%s: printed %q", name, got)
			}
			dump(t, s, "for i in 1 2 3 4 5 6 7 8 9; do [ ! -e wrote."+name+" ] || exit 0; sleep 0.5; done; exit 1")
		}
	})
}

// Short commands leave no process to the runtime, which reaps none: they would add up to the limit of processes.
func TestNoOrphans(t *testing.T) {
	inShells(t, func(t *testing.T, sh string) {
		s := shell.New(shell.Options{ID: "orphans", Transport: unwatched{newPod(t, sh)}}) // so that none gets a keeper, however slow this machine is
		const zombies = "cat /proc/[0-9]*/status 2>/dev/null | grep -c '^State:.Z'; :"
		for _, script := range []string{"echo word; echo other >&2", "exit 3", "echo " + strings.Repeat("word", 2000)} {
			for range 10 {
				if _, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"sh", "-c", script}}, io.Discard, io.Discard); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := dump(t, s, zombies); got != "0\n" {
			t.Errorf("zombies after 30 commands: %s", got)
		}
		var g errgroup.Group
		for range 4 {
			g.Go(func() error {
				for range 4 {
					if _, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"sh", "-c", "sleep 0.05; echo word"}}, io.Discard, nil); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		if got := dump(t, s, zombies); got != "0\n" {
			t.Errorf("zombies after 16 commands, four at a time: %s", got)
		}
		dump(t, s, "sleep 0 & exit 0") // one of its own, so that there is one to be seen
		if got := dump(t, s, zombies); got == "0\n" {
			t.Error("the test sees no zombies")
		}
	})
}
