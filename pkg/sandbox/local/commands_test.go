package local

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// What is too long for the kernel is refused with a line that says so, and what to do.
func TestArgumentsTooLong(t *testing.T) {
	for _, isolation := range []sandbox.Isolation{sandbox.IsolationNamespaces, sandbox.IsolationNone} {
		t.Run(string(isolation), func(t *testing.T) {
			sb := acquire(t, sandbox.Spec{Local: sandbox.Local{Isolation: isolation}})
			long := strings.Repeat("x", 200_000)
			for _, cmd := range []sandbox.Command{{Argv: []string{"echo", long}}, {Argv: []string{"echo"}, Env: map[string]string{"LONG": long}}} {
				var errs bytes.Buffer
				res, err := sb.Exec(t.Context(), cmd, nil, &errs)
				const want = "sbxrun: echo: argument list too long, with the environment: pass by stdin or files what is long\n"
				if err != nil || res.Exit != 126 || errs.String() != want {
					t.Errorf("%+v, %v: %s", res, err, errs.String())
				}
			}
		})
	}
}

// A command that fails for want of processes says so, however quickly it fails.
func TestLimitOfPIDs(t *testing.T) {
	spec := sandbox.Spec{Limits: sandbox.Limits{PIDs: 20}}
	const fill = `
import os, sys, time
def child(more):
    if os.fork() == 0:
        if more:
            while os.getppid() != 1: time.sleep(0.01)
            while True: # what looks for the file takes its part of the limit
                try: child(False); break
                except OSError: time.sleep(0.01)
            open("one more", "w")
        time.sleep(100); os._exit(0)
try:
    for i in range(%d): child(%s)
except OSError: sys.exit(1)
`
	for range 5 {
		sb := acquire(t, spec)
		res, err := sb.Exec(t.Context(), sandbox.Command{Argv: []string{"/usr/bin/python3", "-c", fmt.Sprintf(fill, 30, "False")}}, nil, nil)
		if err != nil || res.Exit != 1 || res.Limit != sandbox.LimitPIDs {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	// Here there is no room for another command, when those that are left have one more.
	sb := acquire(t, spec)
	if res, err := sb.Exec(t.Context(), sandbox.Command{Argv: []string{"/usr/bin/python3", "-c", fmt.Sprintf(fill, 19, "i == 0")}}, nil, nil); err != nil || res.Exit != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	start := time.Now()
	for there := false; !there; time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > time.Minute {
			t.Fatal("the last process was never started")
		}
		r, err := sb.Receive(t.Context(), []string{"one more"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = tar.NewReader(r).Next()
		there = err == nil
		r.Close()
	}
	res, err := sb.Exec(t.Context(), sandbox.Command{Argv: []string{"sh", "-c", "true | true"}}, nil, nil)
	if err != nil || res.Exit == 0 || res.Limit != sandbox.LimitPIDs {
		t.Errorf("%+v, %v", res, err)
	}
	if res, err := acquire(t, spec).Exec(t.Context(), sandbox.Command{Argv: []string{"sh", "-c", "sleep 0.1 & sleep 0.1 & exit 3"}}, nil, nil); err != nil || res.Exit != 3 || res.Limit != sandbox.LimitNone {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestLimitOfPIDsAsOrdinaryUser(t *testing.T) { asOrdinaryUser(t, "TestLimitOfPIDs") }

// A sandbox that dies while a command is on its way into it has died, which is no failure of whoever made it.
func TestSandboxDies(t *testing.T) {
	ctx := context.Background()
	p := open(t, sandbox.Run{ID: runID(t), Dir: t.TempDir()}).(*Provider)
	defer func() {
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	for i := range 8 {
		sb, err := p.Acquire(ctx, sandbox.Spec{})
		if err != nil {
			t.Fatal(err)
		}
		// Many processes take a while to go, and it cannot be entered meanwhile.
		if _, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"sh", "-c", "for i in $(seq 20); do sleep 1000 & done"}}, nil, nil); err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Duration(i) * 200 * time.Microsecond)
			for _, pid := range children(t, p.spawner.proc.PID) {
				if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); string(name) == "init\n" {
					_ = unix.Kill(pid, unix.SIGKILL)
				}
			}
		}()
		for died := false; !died; {
			res, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"true"}, Script: []byte("true")}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			died = res.SandboxDied
		}
		if err := sb.Send(ctx, "", tarOf(t)); err == nil {
			t.Error("files were put into a dead sandbox")
		}
		if err := sb.Release(ctx); err != nil {
			t.Error(err)
		}
	}
}

func TestSandboxDiesAsOrdinaryUser(t *testing.T) { asOrdinaryUser(t, "TestSandboxDies") }
