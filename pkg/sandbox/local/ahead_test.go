package local

import (
	"os"
	"strconv"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

func TestAhead(t *testing.T) {
	ahead := StartAhead()
	defer ahead.Close()
	p, err := Open(t.Context(), Options{Run: sandbox.Run{ID: runID(t), Dir: t.TempDir()}, Ahead: ahead})
	if err != nil {
		t.Fatal(err)
	}
	acquire := func() {
		t.Helper()
		sb, err := p.Acquire(t.Context(), sandbox.Spec{})
		if err != nil {
			t.Fatal(err)
		}
		res, err := sb.Exec(t.Context(), sandbox.Command{Argv: []string{"true"}}, nil, nil)
		if err != nil || res.Exit != 0 {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	acquire()
	if p.spawner.proc != ahead.proc {
		t.Error("another spawner was started")
	}
	ahead.Close() // which is the provider's now
	acquire()
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if again, err := ahead.take(); again != nil || err != nil {
		t.Errorf("taken twice: %v, %v", again, err)
	}
}

func TestAheadOfNothing(t *testing.T) {
	ahead := StartAhead()
	ahead.Close()
	if _, err := os.Stat("/proc/" + strconv.Itoa(ahead.proc.PID)); !os.IsNotExist(err) {
		t.Errorf("the process is there: %v", err)
	}
	ahead.Close()
	(*Ahead)(nil).Close()
}
