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
// ends the process at once.
type interrupts struct {
	hurry chan struct{}
	stop  func()
}

// watchSignals starts to follow the signals. say tells people what happens now; runID is named when the third signal
// leaves things for gc.
func watchSignals(parent context.Context, say func(string), runID string) (context.Context, *interrupts) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	in, done := &interrupts{hurry: make(chan struct{})}, make(chan struct{})
	in.stop = func() {
		signal.Stop(signals)
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
