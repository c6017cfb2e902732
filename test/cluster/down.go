package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ready says whether the whole cluster stands.
func (c *cluster) ready(ctx context.Context) bool {
	names := c.components()
	if len(names) == 0 || !exists(c.path("state", "up")) {
		return false
	}
	for _, name := range names {
		if p, err := c.noted(name); err != nil || !p.alive() {
			return false
		}
	}
	return c.kubectl(ctx, nil, "get", "--raw", "/readyz") == nil
}

// down takes down what stands of a cluster: first what would start things again, then containers, then the rest.
func (c *cluster) down() error {
	var errs []error
	stop := func(names ...string) {
		for _, name := range names {
			if exists(c.note(name)) {
				errs = append(errs, c.stop(name))
			}
		}
	}
	stop("kubelet")
	if ids := c.tasks(); len(ids) > 0 {
		// What cannot be ended in this way is met again below, by the mounts it holds.
		_ = run1(context.Background(), c.ctr(append([]string{"tasks", "delete", "--force"}, ids...)...)...)
	}
	stop("kube-controller-manager", "kube-scheduler", "coredns", "kube-proxy", "kube-apiserver", "containerd")
	stop(slices.DeleteFunc(c.components(), func(name string) bool { p, err := c.noted(name); return err != nil || !p.alive() })...)
	errs = append(errs, c.endNamespace(), c.unmount())
	if errors.Join(errs...) == nil {
		errs = append(errs, os.RemoveAll(c.path("state")))
	}
	return errors.Join(errs...)
}

// endNamespace ends every process of the network namespace, containerd's shims above all, and deletes it.
func (c *cluster) endNamespace() error {
	if !exists("/run/netns/" + namespace) {
		return nil
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		for range 20 {
			out, err := output(exec.Command("ip", "netns", "pids", namespace))
			if err != nil {
				return err
			}
			pids := strings.Fields(string(out))
			if len(pids) == 0 {
				return run1(context.Background(), "ip", "netns", "delete", namespace)
			}
			for _, field := range pids {
				pid, err := strconv.Atoi(field)
				if err != nil {
					return err
				}
				if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
					return fmt.Errorf("ending process %d of the network namespace: %w", pid, err)
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	return fmt.Errorf("processes of the network namespace %s do not end", namespace)
}

// unmount takes away the mounts below the state, the inner ones first.
func (c *cluster) unmount() error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var points []string
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], c.path("state")+"/") {
			points = append(points, fields[4])
		}
	}
	slices.Sort(points)
	for _, p := range slices.Backward(points) {
		if err := syscall.Unmount(p, syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("unmounting %s: %w", p, err)
		}
	}
	return nil
}
