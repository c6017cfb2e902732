package shell_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

// held stops the first reset in the middle of its work, and says that it was lost.
type held struct {
	*pod
	once  sync.Once
	argv  []string
	first chan shell.Reply
}

func (h *held) Run(ctx context.Context, argv []string) (shell.Reply, error) {
	lost := false
	if strings.Contains(argv[2], "purge()") {
		h.once.Do(func() {
			h.argv, h.first, lost = argv, make(chan shell.Reply, 1), true
			go func() {
				reply, _ := h.pod.Run(context.WithoutCancel(ctx), argv)
				h.first <- reply
			}()
			const hold = `i=0; while i=$((i + 1)); [ $i -lt 1000 ]; do for f in $(grep -l "^Max resident set  *$0 " /proc/[0-9]*/limits 2>/dev/null); do
				p=${f%/*}; kill -STOP "${p##*/}" && held=1; done; [ ! "$held" ] || exit 0; done; exit 1`
			reply, err := h.pod.Run(ctx, []string{"sh", "-c", hold, fmt.Sprint(shell.ResetMark)})
			if err != nil || reply.Exit != 0 {
				lost = false
			}
		})
	}
	if lost {
		return shell.Reply{}, errors.New("lost")
	}
	return h.pod.Run(ctx, argv)
}

// A reset that was sent again because it did not answer touches nothing of what comes afterwards, whether it was at work or arrives
// only then.
func TestResetSentTwice(t *testing.T) {
	inShells(t, func(t *testing.T, sh string) {
		h := &held{pod: newPod(t, sh)}
		s := shell.New(shell.Options{ID: "reset", Transport: h})
		if err := run(t, s, sandbox.Command{Argv: []string{"sh", "-c", "seq 20000 | xargs touch"}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		if h.first == nil {
			t.Fatal("there was nothing to hold")
		}
		if reply := <-h.first; strings.Contains(string(reply.Stdout), " ok") {
			t.Errorf("the first one answers %q", reply.Stdout)
		}
		late := make(chan string, 1)
		go func() {
			time.Sleep(500 * time.Millisecond)
			reply, _ := h.pod.Run(context.WithoutCancel(t.Context()), h.argv)
			late <- string(reply.Stdout)
		}()
		var out bytes.Buffer
		res, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"sh", "-c", "ls; echo mine > f; sleep 2; cat f"}}, &out, nil)
		if err != nil || res.Exit != 0 || out.String() != "mine\n" {
			t.Errorf("%+v, %v, %q", res, err, out.String())
		}
		if got := <-late; !strings.Contains(got, " ok") {
			t.Errorf("the one that came late answers %q", got)
		}
	})
}
