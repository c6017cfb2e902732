package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// makeNetwork makes the folders of the state and the network namespace: one bridge carries the node's address (not every
// kernel has dummy devices), the default route ends there. What pods send beyond the cluster is refused at once rather
// than lost, as programs under test wait for an answer.
func (c *cluster) makeNetwork(ctx context.Context) error {
	for _, dir := range []string{"etcd", "pki", "logs", "cni", "containerd", "run", "kubelet"} {
		if err := os.MkdirAll(c.path("state", dir), 0o700); err != nil {
			return err
		}
	}
	if err := run1(ctx, "ip", "netns", "add", namespace); err != nil {
		return fmt.Errorf("this machine refuses network namespaces, without which the cluster cannot be made: %w", err)
	}
	for _, argv := range [][]string{
		{"ip", "link", "set", "lo", "up"},
		{"ip", "link", "add", "node0", "type", "bridge"},
		{"ip", "addr", "add", nodeIP + "/24", "dev", "node0"},
		{"ip", "link", "set", "node0", "up"},
		{"ip", "route", "add", "default", "dev", "node0"},
		{"sysctl", "-qw", "net.ipv4.ip_forward=1"},
		{"iptables", "-A", "FORWARD", "-s", podCIDR, "-o", "node0", "!", "-d", nodeIP + "/24", "-j", "REJECT", "--reject-with", "icmp-net-unreachable"},
	} {
		if err := run1(ctx, c.inside(argv...)...); err != nil {
			return err
		}
	}
	// Traffic between pods of one bridge passes Services only where the kernel shows it to iptables; a kernel without
	// this switch does so always or has no such filter.
	if exists("/proc/sys/net/bridge/bridge-nf-call-iptables") {
		return run1(ctx, c.inside("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")...)
	}
	return nil
}

// run1 runs one command to its end.
func run1(ctx context.Context, argv ...string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, tail(out))
	}
	return nil
}

// write puts a file into the state.
func (c *cluster) write(name string, data []byte) error {
	path := c.path("state", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}
