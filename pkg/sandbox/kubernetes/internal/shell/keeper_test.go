package shell_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

// With the command its keeper ends, and all that the keeper has started, however the command ended and whatever of its stdin
// was left.
func TestKeeperLeavesNobody(t *testing.T) {
	inShells(t, func(t *testing.T, sh string) {
		s := shell.New(shell.Options{ID: "keeper", Transport: newPod(t, sh)})
		// What counts may have a keeper itself where the machine is busy: the least says how many there are without.
		least := func(until, tries int) (n int, which string) {
			n = math.MaxInt
			for range tries {
				text := dump(t, s, "for f in $(grep -l '^State:.[^Z]' /proc/[0-9]*/status 2>/dev/null); do p=${f%/status}; "+
					"echo ${p#/proc/} $(cat $p/wchan) $(tr '\\0\\n' '  ' <$p/cmdline | tail -c 150); done 2>/dev/null")
				if now := strings.Count(text, "\n"); now < n {
					n, which = now, text
				}
				if n <= until {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			return n, which
		}
		before, _ := least(0, 20)
		for _, script := range []string{"head -c 1", "sleep 0.5; exit 3", "sleep 100", "head -c 100000 /dev/zero; sleep 100"} {
			stdin, end := io.Pipe() // that has no end
			go func() { _, _ = end.Write([]byte("word\n")) }()
			_, err := s.Exec(t.Context(), sandbox.Command{
				Argv: []string{"sh", "-c", script}, Stdin: stdin, Timeout: 2 * time.Second, OutputLimit: 1000,
			}, io.Discard, nil)
			if err != nil {
				t.Errorf("%s: %v", script, err)
			}
			_ = end.Close()
		}
		// The seconds that a kill or a drain may take at most, on a machine that is busy with others.
		if after, which := least(before, 100); after > before {
			t.Errorf("%d processes before, %d afterwards:\n%s", before, after, which)
		}
	})
}

// A keeper that was killed when it had just settled that it copies the output leaves that to the supervisor.
func TestKeeperKilledEarly(t *testing.T) {
	inShells(t, func(t *testing.T, sh string) {
		s := shell.New(shell.Options{ID: "keeper", Transport: unwatched{newPod(t, sh)}})
		var out, errs bytes.Buffer
		script := mine + "touch $d.k; echo out; echo err >&2; exit 3"
		res, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"sh", "-c", script}}, &out, &errs)
		if err != nil || res.Exit != 3 || res.Signal != 0 || res.Limit != "" || out.String() != "out\n" || errs.String() != "err\n" {
			t.Errorf("%+v, %v, %q, %q", res, err, out.String(), errs.String())
		}
	})
}

// With a keeper that was killed later what it had read may be lost: then the command counts as killed too.
func TestKeeperKilledLate(t *testing.T) {
	inShells(t, func(t *testing.T, sh string) {
		for _, end := range []string{"exit 4", "sleep 60 & exit 4"} {
			s := shell.New(shell.Options{ID: "keeper", Transport: newPod(t, sh)})
			var out bytes.Buffer
			script := mine + "kill -9 $(cut -d' ' -f1 $d.up); echo first; echo second; " + end
			res, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"sh", "-c", script}, Timeout: 2 * time.Second}, &out, io.Discard)
			if err != nil || res.Signal != 9 && (res.Exit != 4 || out.String() != "first\nsecond\n") {
				t.Errorf("%s: %+v, %v, %q", end, res, err, out.String())
			}
			if got := dump(t, s, "echo usable"); got != "usable\n" {
				t.Errorf("afterwards: %q", got)
			}
		}
	})
}

// The supervisor may be held up between the opening of the file that says how the command ended and the writing.
func TestKeeperWaitsForRecord(t *testing.T) {
	inShells(t, func(t *testing.T, sh string) {
		s := shell.New(shell.Options{ID: "keeper", Transport: newPod(t, sh)})
		var out bytes.Buffer
		script := mine + "until [ -s $d.up ]; do sleep .01; done; : >$d.rc; sleep .5; echo out; exit 3"
		res, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"sh", "-c", script}, Timeout: 2900 * time.Millisecond}, &out, io.Discard)
		if err != nil || res.Exit != 3 || res.Signal != 0 || res.Limit != "" || out.String() != "out\n" {
			t.Errorf("%+v, %v, %q", res, err, out.String())
		}
	})
}

// One stream has ended and the other has not when the command does, again and again: bash loses how a process ended where a
// signal interrupts its wait.
func TestKeeperOfOneStream(t *testing.T) {
	inShells(t, func(t *testing.T, sh string) {
		s := shell.New(shell.Options{ID: "keeper", Transport: newPod(t, sh)})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		for range 10 {
			var out bytes.Buffer
			argv := []string{"sh", "-c", "sleep 60 2>/dev/null & echo hi; sleep .1"}
			res, err := s.Exec(ctx, sandbox.Command{Argv: argv, Timeout: 2 * time.Second}, &out, io.Discard)
			if err != nil || res.Exit != 0 || res.Limit != "" || out.String() != "hi\n" {
				t.Fatalf("%+v, %v, %q", res, err, out.String())
			}
		}
	})
}

// The time of a command does not begin while its supervisor is held up before it.
func TestTimeBeginsWithCommand(t *testing.T) {
	inShells(t, func(t *testing.T, sh string) {
		pod := newPod(t, sh)
		s := shell.New(shell.Options{ID: "late", Transport: pod})
		if err := run(t, s, sandbox.Command{Argv: []string{"true"}}); err != nil {
			t.Fatal(err)
		}
		for n := 2; n < 20; n++ {
			held := make(chan string, 1)
			go func() {
				const hold = `until f=$(echo /tmp/.sbxrun/x/*-$0) && [ -s $f ]; do :; done; read -r p rest <$f; kill -STOP $p
					[ -e $f.main ] && echo late || sleep 4; kill -CONT $p`
				reply, _ := pod.Run(context.WithoutCancel(t.Context()), []string{"sh", "-c", hold, fmt.Sprintf("%06d", n)})
				held <- string(reply.Stdout)
			}()
			var out bytes.Buffer
			res, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"echo", "out"}, Timeout: 2900 * time.Millisecond}, &out, nil)
			if <-held != "" {
				continue // the command had begun
			}
			if err != nil || res.Exit != 0 || res.Limit != "" || out.String() != "out\n" {
				t.Errorf("%+v, %v, %q", res, err, out.String())
			}
			return
		}
		t.Error("the supervisor was never held up before the command")
	})
}
