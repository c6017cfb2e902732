package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The programs of the cluster: where each is built, and the package. The Go build cache makes a second time cheap, so
// that they are built at every start and none is ever stale.
var programs = []struct{ name, module, pkg string }{
	{"hyperkube", "hyperkube", "."},
	{"coredns", "coredns", "."},
	{"etcd", "agent-sandbox", "go.etcd.io/etcd/server/v3"},
	{"agent-sandbox-controller", "agent-sandbox", "sigs.k8s.io/agent-sandbox/cmd/agent-sandbox-controller"},
	{"sandbox-router", "agent-sandbox", "sigs.k8s.io/agent-sandbox/sandbox-router/cmd"},
	{"sandboxd", "agent-sandbox", "sigs.k8s.io/agent-sandbox/packages/sandboxd/cmd/sandboxd"},
	{"pause", ".", "./pause"},
}

// needs are the Debian packages of commands, by command.
var needs = map[string]string{
	"containerd":                         "containerd",
	"runc":                               "runc",
	"/usr/lib/cni/bridge":                "containernetworking-plugins",
	"iptables":                           "iptables",
	"conntrack":                          "conntrack",
	"ip":                                 "iproute2",
	"nsenter":                            "util-linux",
	"debootstrap":                        "debootstrap",
	"kubectl":                            "kubernetes-client",
	"tar":                                "tar",
	"/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
}

func (c *cluster) build(ctx context.Context) error {
	if !exists(filepath.Join(c.source, "hyperkube", "go.mod")) {
		return fmt.Errorf("%s is not the folder test/cluster of sbxrun: run this there", c.source)
	}
	if err := installPackages(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(c.path("bin"), 0o755); err != nil {
		return err
	}
	for _, p := range programs {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", c.program(p.name), p.pkg)
		cmd.Dir = filepath.Join(c.source, p.module)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off")
		if err := announce("building "+p.name, cmd); err != nil {
			return err
		}
	}
	return c.makeImages(ctx)
}

// installPackages asks apt-get for what is missing.
func installPackages(ctx context.Context) error {
	var missing []string
	for command, pkg := range needs {
		if _, err := exec.LookPath(command); err != nil && !exists(command) {
			missing = append(missing, pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	update := exec.CommandContext(ctx, "apt-get", "-q", "update")
	if err := announce("reading the lists of Debian packages", update); err != nil {
		return err
	}
	install := exec.CommandContext(ctx, "apt-get", append([]string{"-q", "install", "-y", "--no-install-recommends"}, missing...)...)
	install.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	return announce("installing "+strings.Join(missing, " "), install)
}

// module is the folder of a module in the module cache, which is filled if need be.
func (c *cluster) module(ctx context.Context, dir, path string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", path)
	cmd.Dir = filepath.Join(c.source, dir)
	out, err := output(cmd)
	if err != nil {
		return "", err
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil || m.Dir == "" {
		return "", fmt.Errorf("%s: %s", cmd, out)
	}
	return m.Dir, nil
}

// announce runs a command that may take long. What it wrote is shown if it fails.
func announce(what string, cmd *exec.Cmd) error {
	fmt.Fprintln(os.Stderr, "cluster:", what)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %s: %w\n%s", what, cmd, err, tail(out))
	}
	return nil
}

// output runs a command and returns its stdout.
func output(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", cmd, err, tail(stderr.Bytes()))
	}
	return out, nil
}

func tail(out []byte) []byte {
	return bytes.TrimSpace(out[max(0, len(out)-4000):])
}
