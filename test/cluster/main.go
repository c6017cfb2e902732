// Command cluster runs a real one-node Kubernetes with Agent Sandbox for the end-to-end tests. It wants root on Debian or
// Ubuntu and Go, no container engine, image registry or internet beyond the module proxy and the Debian mirror: every
// program is built from Go modules, containerd, runc and the CNI plugins are Debian packages, and images are packed from a
// debootstrap root.
//
// The cluster lives in a network namespace of its own that has no way out, below one folder of the cache. What it starts
// it notes by process id, and ends nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

const usage = `usage: cluster COMMAND

  up                 build what is missing, start, and wait until all is ready; nothing to do where it is up
  down               end every process of the cluster and delete its state; built programs and images stay
  build              only build programs and images
  exec COMMAND...    run a command in the cluster's network namespace, with KUBECONFIG set
  image NAME FILE... make an image of Debian with FILEs in /usr/local/bin, which pods of the cluster can name
  stop NAME          end one component (etcd, kube-apiserver, kubelet ...), as a fault would
  start NAME         start it again
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	c, err := locate()
	if err != nil {
		return err
	}
	verb := ""
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	wants := map[string]func() bool{
		"up":    func() bool { return len(args) == 0 },
		"down":  func() bool { return len(args) == 0 },
		"build": func() bool { return len(args) == 0 },
		"exec":  func() bool { return len(args) > 0 },
		"image": func() bool { return len(args) > 1 },
		"stop":  func() bool { return len(args) == 1 },
		"start": func() bool { return len(args) == 1 },
	}
	if fits := wants[verb]; fits == nil || !fits() {
		fmt.Fprint(os.Stderr, usage)
		return errors.New("bad usage")
	}
	if os.Geteuid() != 0 {
		return errors.New("a cluster makes namespaces, mounts and control groups: run this as root")
	}
	switch verb {
	case "build":
		return c.build(ctx)
	case "down":
		return c.down()
	case "exec":
		return c.exec(args)
	case "image":
		return c.image(ctx, args[0], args[1:])
	case "stop":
		return c.stop(args[0])
	case "start":
		return c.restart(args[0])
	}
	return c.up(ctx)
}

// up starts what is not there. A cluster that stands only half is taken down first.
func (c *cluster) up(ctx context.Context) error {
	if c.ready(ctx) {
		fmt.Fprintln(os.Stderr, "cluster: it is up")
		return nil
	}
	if err := c.build(ctx); err != nil {
		return err
	}
	if err := c.down(); err != nil {
		return err
	}
	begin := time.Now()
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"network", c.makeNetwork},
		{"credentials", c.makeCredentials},
		{"control plane", c.startControlPlane},
		{"node", c.startNode},
		{"Agent Sandbox and the gateway", c.install},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w (the logs are in %s; `cluster down` removes what stands)", step.what, err, c.logs())
		}
	}
	fmt.Fprintf(os.Stderr, "cluster: up after %v\n", time.Since(begin).Round(100*time.Millisecond))
	return nil
}

// exec replaces this program by one in the cluster's network namespace.
func (c *cluster) exec(argv []string) error {
	if !exists(c.path("state", "kubeconfig")) {
		return errors.New("no cluster is up: make cluster-up")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return err
	}
	env := append(os.Environ(), "KUBECONFIG="+c.kubeconfig(), "SBXRUN_CLUSTER="+self, "SBXRUN_CLUSTER_STATE="+c.path("state"))
	return syscall.Exec(nsenter, c.inside(argv...), env)
}
