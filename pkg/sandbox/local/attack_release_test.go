package local

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// A command that is started while its sandbox is released runs there or not at all: never in one that takes its place.
func TestAttackExecDuringRelease(t *testing.T) {
	ctx := context.Background()
	p := open(t, sandbox.Run{ID: runID(t), Dir: t.TempDir()})
	defer func() {
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		old, err := p.Acquire(ctx, sandbox.Spec{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { _, _ = old.Exec(ctx, sandbox.Command{Argv: []string{"touch", "/workspace/stray"}}, nil, nil) })
		}
		wg.Go(func() { _ = old.Release(ctx) })
		for range 3 {
			wg.Go(func() {
				sb, err := p.Acquire(ctx, sandbox.Spec{})
				if err != nil {
					t.Error(err)
					return
				}
				var out bytes.Buffer
				res, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"sh", "-c", "sleep 0.01; ls"}}, &out, &out)
				if err != nil || res.Exit != 0 || out.Len() > 0 {
					t.Errorf("%+v, %v: %s", res, err, out.String())
				}
				if err := sb.Release(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}
