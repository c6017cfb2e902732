package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// errInterrupted is the cause of the contexts of an interrupted run.
var errInterrupted = errors.New("interrupted")

// interrupts follows SIGINT, SIGTERM and SIGHUP: the first cancels the context, the second closes hurry, the third
// ends the process at once. A SIGHUP that nohup has ignored stays so.
type interrupts struct {
	hurry chan struct{}
	stop  func()
}

// watchSignals starts to follow the signals. say tells people what happens now; runID is named when the third signal
// leaves things for gc.
func watchSignals(parent context.Context, say func(string), runID string) (context.Context, *interrupts) {
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
				say("sbxrun: interrupted; ending what runs and taking sandboxes down (once more: faster)")
				cancel(errInterrupted)
			case 2:
				say("sbxrun: killing what runs (once more: leave at once)")
				close(in.hurry)
			default:
				say("sbxrun: left at once; what run " + runID + " leaves behind is removed by: sbxrun gc")
				os.Exit(exitInterrupted)
			}
		}
	}()
	return ctx, in
}
