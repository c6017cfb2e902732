package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os/exec"
	"time"
)

//go:embed conf/audit.yaml
var auditPolicy []byte

// startControlPlane starts etcd, the API server, the controllers and the scheduler. Without fsync etcd loses what a crash
// of the machine takes, which a cluster for tests may.
func (c *cluster) startControlPlane(ctx context.Context) error {
	if err := c.write("audit.yaml", auditPolicy); err != nil {
		return err
	}
	const etcd = "http://127.0.0.1:2379"
	if err := c.start("etcd", c.program("etcd"), "--name="+namespace, "--data-dir="+c.path("state", "etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd, "--listen-peer-urls=http://127.0.0.1:2380"); err != nil {
		return err
	}
	if err := c.hyperkube("kube-apiserver", "--etcd-servers="+etcd, "--secure-port=6443", "--advertise-address="+nodeIP,
		"--tls-cert-file="+c.pki("apiserver.crt"), "--tls-private-key-file="+c.pki("apiserver.key"), "--cert-dir="+c.path("state", "pki", "generated"),
		"--service-cluster-ip-range="+serviceCIDR, "--service-account-issuer=https://kubernetes.default.svc."+domain,
		"--service-account-signing-key-file="+c.pki("sa.key"), "--service-account-key-file="+c.pki("sa.key"),
		"--token-auth-file="+c.pki("tokens.csv"), "--authorization-mode=Node,RBAC", "--allow-privileged=true",
		"--kubelet-preferred-address-types=InternalIP",
		"--audit-policy-file="+c.path("state", "audit.yaml"), "--audit-log-path="+c.path("state", "audit.log")); err != nil {
		return err
	}
	if err := c.await(ctx, time.Minute, "the API server", func() error { return c.kubectl(ctx, nil, "get", "--raw", "/readyz") }); err != nil {
		return err
	}
	if err := c.hyperkube("kube-controller-manager", "--kubeconfig="+c.path("state", "component.kubeconfig"), "--leader-elect=false",
		"--kube-api-qps=200", "--kube-api-burst=400", "--service-account-private-key-file="+c.pki("sa.key"), "--root-ca-file="+c.pki("ca.crt"),
		"--allocate-node-cidrs=true", "--cluster-cidr="+podCIDR, "--service-cluster-ip-range="+serviceCIDR, "--node-cidr-mask-size=20"); err != nil {
		return err
	}
	return c.hyperkube("kube-scheduler", "--kubeconfig="+c.path("state", "component.kubeconfig"), "--leader-elect=false")
}

// hyperkube starts a component of Kubernetes; they are one program.
func (c *cluster) hyperkube(name string, flags ...string) error {
	return c.start(name, append([]string{c.program("hyperkube"), name}, flags...)...)
}

// kubectl runs kubectl as a component, with what it reads from stdin.
func (c *cluster) kubectl(ctx context.Context, stdin io.Reader, args ...string) error {
	_, err := c.kubectlOutput(ctx, stdin, args...)
	return err
}

func (c *cluster) kubectlOutput(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	argv := c.inside(append([]string{"kubectl", "--kubeconfig=" + c.path("state", "component.kubeconfig"), "--cache-dir=" + c.path("state", "kubectl")}, args...)...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = stdin
	out, err := output(cmd)
	if err != nil {
		return nil, fmt.Errorf("kubectl %s: %w", args[0], err)
	}
	return out, nil
}
