package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/spawner"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/wire"
)

// A run goes on when the process that owns its sandboxes is killed: those are lost and all of them is gone, and the next
// ones are another's.
func TestSpawnerIsReplaced(t *testing.T) {
	ctx := context.Background()
	run := runID(t)
	p := open(t, sandbox.Run{ID: run, Dir: t.TempDir()}).(*Provider)
	lost, err := p.Acquire(ctx, sandbox.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := p.Acquire(ctx, sandbox.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	started, done := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := lost.Exec(ctx, sandbox.Command{Argv: []string{"sh", "-c", "echo up; sleep 1000"}}, closer{started}, nil)
		done <- err
	}()
	<-started
	old := p.spawner
	inits := children(t, old.proc.PID)
	had := len(groupsOf(run))
	old.proc.Kill()
	err = <-done
	if sandbox.KindOf(err) != sandbox.KindLost || !strings.Contains(err.Error(), "-j") {
		t.Errorf("the command: %v", err)
	}
	_, err = other.Exec(ctx, sandbox.Command{Argv: []string{"true"}}, nil, nil)
	if e, ok := errors.AsType[*sandbox.Error](err); !ok || e.Kind != sandbox.KindLost || !e.Unstarted {
		t.Errorf("a command that cannot have been started: %#v", err)
	}
	if err := lost.Release(ctx); err != nil {
		t.Errorf("release of what is gone: %v", err)
	}
	if len(inits) < 2 {
		t.Errorf("children of the spawner: %v", inits)
	}
	for _, pid := range inits { // now, not later
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil {
			t.Errorf("process %d, %s, lives on", pid, name)
		}
	}
	next, err := p.Acquire(ctx, sandbox.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(groupsOf(run)); n > had/2 {
		t.Errorf("%d control groups, those of one sandbox are %d", n, had/2)
	}
	if res, err := next.Exec(ctx, sandbox.Command{Argv: []string{"sh"}, Script: []byte("exit 3")}, nil, nil); err != nil || res.Exit != 3 {
		t.Errorf("%+v, %v", res, err)
	}
	p.spawner.proc.Kill() // and nobody has noticed when the next one is wanted, or the run ends
	if last, err := p.Acquire(ctx, sandbox.Spec{}); err != nil {
		t.Error(err)
	} else if res, err := last.Exec(ctx, sandbox.Command{Argv: []string{"true"}}, nil, nil); err != nil || res.Exit != 0 {
		t.Errorf("%+v, %v", res, err)
	}
	p.spawner.proc.Kill()
	if err := p.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	if left := groupsOf(run); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestSpawnerIsReplacedAsOrdinaryUser(t *testing.T) { asOrdinaryUser(t, "TestSpawnerIsReplaced") }

// What could not be released is tried again when it is asked for again.
func TestReleaseAgain(t *testing.T) {
	ctx := context.Background()
	ours, theirs, err := wire.Pair()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := wire.NewConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := wire.NewConn(theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	defer conn.Close()
	asked := make(chan int, 1)
	go func() {
		n := 0
		defer func() { asked <- n }()
		for {
			var req wire.Request
			if _, err := peer.Receive(&req); err != nil {
				return
			}
			reply := wire.Reply{Seq: req.Seq}
			if n++; n == 1 {
				reply.Err = &wire.Error{Text: "busy"}
			}
			if peer.Send(reply) != nil {
				return
			}
		}
	}()
	root, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	disk, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	p := &Provider{boxes: map[string]held{}}
	s := &Sandbox{p: p, files: files{
		id: "x", client: newClient(&spawner.Process{Conn: conn}), root: root, disk: disk, released: make(chan struct{}),
	}}
	p.boxes["x"] = s
	if err := s.Release(ctx); err == nil || len(p.boxes) != 1 {
		t.Errorf("the first time: %v, and %d are held", err, len(p.boxes))
	}
	if _, err := s.Exec(ctx, sandbox.Command{Argv: []string{"true"}}, nil, nil); sandbox.KindOf(err) != sandbox.KindReleased {
		t.Errorf("a command in between: %v", err)
	}
	for range 2 {
		if err := s.Release(ctx); err != nil || len(p.boxes) != 0 {
			t.Errorf("again: %v, and %d are held", err, len(p.boxes))
		}
	}
	conn.Close()
	if n := <-asked; n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}
}
