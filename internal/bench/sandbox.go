package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local"

	"github.com/sbxrun/sbxrun/internal/bench/table"
)

const truePath = "/usr/bin/true"

// withLocal calls f with a local provider.
func (h *harness) withLocal(ctx context.Context, f func(sandbox.Provider) error) (err error) {
	dir, err := os.MkdirTemp(h.dir, "local-")
	if err != nil {
		return err
	}
	p, err := local.Open(ctx, local.Options{Run: sandbox.Run{ID: fmt.Sprintf("bench-%d", os.Getpid()), Dir: dir, Size: 1}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close(context.WithoutCancel(ctx))) }()
	return f(p)
}

// spec asks for a sandbox as a recipe does that says nothing about it.
var spec = sandbox.Spec{Name: "default", Group: "bench", Limits: sandbox.DefaultLimits}

// create measures the whole life of a sandbox beside bwrap with the same namespaces and mounts.
func create(ctx context.Context, h *harness) (rows []table.Row, err error) {
	err = h.withLocal(ctx, func(p sandbox.Provider) error {
		bwrap, err := bwrapTrue(ctx, p)
		if err != nil {
			return err
		}
		got, other, err := alternate(ctx, h.rounds(200), func() error {
			sb, err := p.Acquire(ctx, spec)
			if err != nil {
				return err
			}
			return errors.Join(runTrue(ctx, sb), sb.Release(ctx))
		}, silent(bwrap...))
		rows = []table.Row{against("create, true, destroy", got, other, 1.0, bwrap)}
		return err
	})
	return rows, err
}

// bwrapTrue is the command line of bwrap that runs true in the same namespaces, with the same mounts, as p does.
func bwrapTrue(ctx context.Context, p sandbox.Provider) ([]string, error) {
	if _, err := exec.LookPath("bwrap"); err != nil {
		return nil, fmt.Errorf("the other side is bubblewrap: %w (apt-get install bubblewrap)", err)
	}
	binds, err := hostMounts(ctx, p)
	return slices.Concat([]string{"bwrap", "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc",
		"--unshare-uts", "--unshare-cgroup"}, binds, []string{"--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", truePath}), err
}

// execTrue measures a command in a sandbox that stands beside fork and exec.
func execTrue(ctx context.Context, h *harness) (rows []table.Row, err error) {
	err = h.withLocal(ctx, func(p sandbox.Provider) error {
		sb, err := p.Acquire(ctx, spec)
		if err != nil {
			return err
		}
		got, other, err := alternate(ctx, h.rounds(500), func() error { return runTrue(ctx, sb) }, silent(truePath))
		rows = []table.Row{against("true in a sandbox that stands", got, other, 3, []string{truePath})}
		return errors.Join(err, sb.Release(ctx))
	})
	return rows, err
}

func runTrue(ctx context.Context, sb sandbox.Sandbox) error {
	r, err := sb.Exec(ctx, sandbox.Command{Argv: []string{truePath}, Timeout: time.Minute}, nil, nil)
	if err == nil && r.Exit != 0 {
		err = fmt.Errorf("%s in a sandbox: exit status %d", truePath, r.Exit)
	}
	return err
}

// hostMounts asks a sandbox what it has of the host, and returns it as bwrap's options: read-only binds, and symbolic
// links such as /bin.
func hostMounts(ctx context.Context, p sandbox.Provider) ([]string, error) {
	sb, err := p.Acquire(ctx, spec)
	if err != nil {
		return nil, err
	}
	var mountinfo bytes.Buffer
	_, err = sb.Exec(ctx, sandbox.Command{Argv: []string{"/usr/bin/cat", "/proc/self/mountinfo"}}, &mountinfo, nil)
	if err := errors.Join(err, sb.Release(ctx)); err != nil {
		return nil, err
	}
	var options []string
	for lines := bufio.NewScanner(&mountinfo); lines.Scan(); {
		target, ok := hostMount(lines.Text())
		if !ok {
			continue
		}
		if _, err := os.Stat(target); err == nil {
			options = append(options, "--ro-bind", target, target)
		}
	}
	if !slices.Contains(options, "/usr") {
		return nil, fmt.Errorf("a sandbox says that it has no /usr of the host:\n%s", mountinfo.Bytes())
	}
	for _, link := range []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		if target, err := os.Readlink(link); err == nil {
			options = append(options, "--symlink", target, link)
		}
	}
	return options, nil
}

// hostMount returns where a line of mountinfo mounts something of the host, read-only. See proc_pid_mountinfo(5).
func hostMount(line string) (target string, ok bool) {
	fields := strings.Fields(line)
	separator := slices.Index(fields, "-")
	if len(fields) < 6 || separator < 6 || separator+1 >= len(fields) {
		return "", false
	}
	target, options, kind := fields[4], strings.Split(fields[5], ","), fields[separator+1]
	own := target == "/" || kind == "proc" || target == "/dev" || strings.HasPrefix(target, "/dev/") || strings.HasPrefix(target, "/proc/")
	return filepath.Clean(target), !own && slices.Contains(options, "ro")
}
