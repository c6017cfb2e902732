package main

import (
	"bytes"
	"context"
	"embed"
	"os/exec"
	"text/template"
	"time"
)

//go:embed conf
var conf embed.FS

// startNode starts containerd with the images, and the kubelet, the proxy and the name server.
func (c *cluster) startNode(ctx context.Context) error {
	for from, to := range map[string]string{
		"containerd.toml": "containerd.toml",
		"cni.conflist":    "cni/10-cluster.conflist",
		"kubelet.yaml":    "kubelet.yaml",
		"resolv.conf":     "resolv.conf",
		"Corefile":        "Corefile",
	} {
		if err := c.configure(from, to); err != nil {
			return err
		}
	}
	if err := c.start("containerd", "containerd", "--config="+c.path("state", "containerd.toml")); err != nil {
		return err
	}
	if err := c.await(ctx, time.Minute, "containerd", func() error { return run1(ctx, c.ctr("version")...) }); err != nil {
		return err
	}
	if err := c.importImages(ctx, c.path("images.tar")); err != nil {
		return err
	}
	kubeconfig := "--kubeconfig=" + c.path("state", "component.kubeconfig")
	if err := c.hyperkube("kubelet", kubeconfig, "--config="+c.path("state", "kubelet.yaml"), "--node-ip="+nodeIP, "--hostname-override="+namespace,
		"--root-dir="+c.path("state", "kubelet"), "--cert-dir="+c.path("state", "pki", "generated")); err != nil {
		return err
	}
	if err := c.hyperkube("kube-proxy", kubeconfig, "--hostname-override="+namespace, "--proxy-mode=iptables", "--cluster-cidr="+podCIDR,
		"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s"); err != nil {
		return err
	}
	return c.start("coredns", c.program("coredns"), "-conf", c.path("state", "Corefile"))
}

// configure writes a file of conf into the state.
func (c *cluster) configure(from, to string) error {
	t, err := template.ParseFS(conf, "conf/"+from)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, struct{ State, Registry, NodeIP, PodCIDR, Domain string }{c.path("state"), registry, nodeIP, podCIDR, domain}); err != nil {
		return err
	}
	return c.write(to, b.Bytes())
}

// ctr is a command line of containerd's own client.
func (c *cluster) ctr(args ...string) []string {
	return append([]string{"ctr", "--address=" + c.path("state", "run", "containerd.sock"), "--namespace=k8s.io"}, args...)
}

func (c *cluster) importImages(ctx context.Context, archive string) error {
	return run1(ctx, c.ctr("images", "import", archive)...)
}

// tasks are the ids of all that runs in containers.
func (c *cluster) tasks() []string {
	argv := c.ctr("tasks", "list", "--quiet")
	out, err := output(exec.Command(argv[0], argv[1:]...))
	if err != nil {
		return nil // no containerd, so that the processes of the namespace are what is left
	}
	var ids []string
	for id := range bytes.FieldsSeq(out) {
		ids = append(ids, string(id))
	}
	return ids
}
