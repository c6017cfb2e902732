package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// errInterrupted is the cause of the contexts of an interrupted run.
var errInterrupted = errors.New("interrupted")

// tellPatience is how long a reader who does not read what a signal does is waited for.
const tellPatience = time.Second

// interrupts follows SIGINT, SIGTERM and SIGHUP: the first cancels the context, the last ends the process at once, one between
// them closes hurry. A SIGHUP that nohup has ignored stays so.
type interrupts struct {
	hurry chan struct{}
	stop  func()
}

// takingDown is what each signal does to a command that has sandboxes; gc is the command that removes what is left then.
func takingDown(what, gc string) []string {
	return []string{
		"interrupted; ending what runs and taking sandboxes down (once more: faster)",
		"killing what runs (once more: leave at once)",
		"left at once; what " + what + " leaves behind is removed by: " + gc,
	}
}

// watchSignals starts to follow the signals. say tells people what happens now: at each signal one of lines, after the last
// of which the process ends.
func watchSignals(parent context.Context, say func(string), lines ...string) (context.Context, *interrupts) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	// A reader of the output that goes away, such as head, does not end the run: writing fails with EPIPE instead. To
	// ignore the signal would be inherited by commands in sandboxes.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	in, done := &interrupts{hurry: make(chan struct{})}, make(chan struct{})
	in.stop = func() {
		signal.Stop(signals)
		signal.Stop(pipe)
		close(done)
		cancel(nil)
	}
	go func() {
		for n := 1; ; n++ {
			select {
			case <-done:
				return
			case <-signals:
			}
			switch n {
			case 1:
				cancel(errInterrupted)
			case 2:
				close(in.hurry)
			}
			told := make(chan struct{})
			go func() {
				say("sbxrun: " + lines[n-1])
				close(told)
			}()
			select {
			case <-told:
			case <-time.After(tellPatience): // nobody reads it
			}
			if n == len(lines) {
				os.Exit(exitInterrupted)
			}
		}
	}()
	return ctx, in
}

// interrupted ends a command that had an error: where a signal came, with the exit status that says so.
func interrupted(ctx context.Context, std stdio, err error) error {
	if err == nil || !errors.Is(context.Cause(ctx), errInterrupted) {
		return err
	}
	return ended(std, exitInterrupted, err)
}
