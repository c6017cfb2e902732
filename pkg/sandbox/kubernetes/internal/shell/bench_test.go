package shell_test

import (
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

// BenchmarkTrue is a command that does nothing, in a sandbox that stands. BenchmarkRun is what the test's own way costs
// without the protocol.
func BenchmarkTrue(b *testing.B) {
	for _, sh := range shells {
		b.Run(sh, func(b *testing.B) {
			s := shell.New(shell.Options{ID: "bench", Transport: newPod(b, sh)})
			for b.Loop() {
				if _, err := s.Exec(b.Context(), sandbox.Command{Argv: []string{"true"}}, nil, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRun(b *testing.B) {
	p := newPod(b, shells[0])
	for b.Loop() {
		if _, err := p.Run(b.Context(), []string{"sh", "-c", "true"}); err != nil {
			b.Fatal(err)
		}
	}
}
