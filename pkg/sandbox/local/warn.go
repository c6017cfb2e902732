package local

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/spawner"
)

// Warnings says what is approximated or not enforced for spec. It starts the process that makes sandboxes, which is how
// it knows; where that fails, Acquire says why.
func (p *Provider) Warnings(spec sandbox.Spec) []string {
	if spec.Local.Isolation == sandbox.IsolationNone {
		return []string{"isolation: none ISOLATES NOTHING: commands run directly on this machine, with its network, and can read, " +
			"change and end whatever you can; cpu, memory, pids, disk, inodes and files are not limited"}
	}
	p.mu.Lock()
	_, err := p.start(context.Background())
	cg := p.cgroups
	p.mu.Unlock()
	if err != nil {
		return nil
	}
	var lines []string
	var without []string
	if !cg.Enforces("memory") {
		without = append(without, "memory by looking every 50 ms")
	}
	if !cg.Enforces("pids") {
		without = append(without, "pids by the processes of the sandbox's user")
	}
	if spec.Limits.CPU > 0 && !cg.Enforces("cpu") {
		without = append(without, "cpu in whole cores")
	}
	if len(without) > 0 {
		lines = append(lines, "limits are approximated where no control group can be written: "+strings.Join(without, ", ")+
			" (sbxrun doctor says why)")
	}
	var files unix.Rlimit
	if n := spec.Limits.Files; n > 0 && unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil && uint64(n) > files.Max {
		lines = append(lines, fmt.Sprintf("files is %d, the limit that sbxrun itself was started with", files.Max))
	}
	if spec.Network == sandbox.NetworkHost && !spawner.ScopesAbstractSockets() {
		lines = append(lines, "network host: the host's abstract unix sockets can be reached too; Linux 6.12 with Landlock closes them")
	}
	return lines
}
