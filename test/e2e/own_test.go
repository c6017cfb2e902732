//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ownCluster is the cluster of test/cluster, whose components can be stopped and whose audit log can be read. Tests whose
// name begins with TestOwn need it; `make e2e` leaves them out for other clusters.
type ownCluster struct {
	program, state string
	held           *os.File // the lock
}

const system = "agent-sandbox-system"

// lock keeps the cluster for one run of the tests: they stop its components and look at what is left in it. The lock ends
// with the process.
func (c *ownCluster) lock() error {
	f, err := os.OpenFile(filepath.Join(c.state, "e2e.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("another run of the end-to-end tests has this cluster: %w", err)
	}
	c.held = f
	return nil
}

func (c *ownCluster) settings(ctx context.Context) error {
	set = settings{
		python: "sbxrun.test/python-runtime:1", sandboxd: "sbxrun.test/sandboxd:1", plain: "sbxrun.test/debian:1", self: "sbxrun.test/e2e:1",
		gateway: system + "/sandbox-gateway", secure: system + "/sandbox-gateway-tls", ca: filepath.Join(c.state, "pki", "ca.crt"), router: system,
	}
	svc, err := api.Resource(services).Namespace(system).Get(ctx, "sandbox-router-svc", metav1.GetOptions{})
	if err != nil {
		return err
	}
	ip, _, err := unstructured.NestedString(svc.Object, "spec", "clusterIP")
	set.url = "http://" + ip + ":8080"
	return err
}

// mine is the cluster, or the end of the test.
func mine(t *testing.T) *ownCluster {
	t.Helper()
	if own == nil {
		t.Fatal("this needs the cluster of test/cluster: make cluster-up, and KUBECONFIG unset")
	}
	return own
}

// command runs bin/cluster.
func (c *ownCluster) command(args ...string) error {
	if out, err := exec.Command(c.program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("cluster %v: %w\n%s", args, err, out)
	}
	return nil
}
