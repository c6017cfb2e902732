package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/claim"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/runtime/detect"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/runtime/podexec"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/runtime/python"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/runtime/sandboxd"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

// The runtimes that a recipe can name. The empty one is auto.
const (
	runtimeAuto     = "auto"
	runtimePython   = detect.Python
	runtimeSandboxd = detect.Sandboxd
	runtimeExec     = detect.Exec
)

// runtimePorts are where the runtime of a sandbox may listen; exec does not, and runs in the container that pods/exec takes.
func runtimePorts(spec sandbox.Cluster) []int {
	switch {
	case spec.Runtime == runtimeExec:
		return nil
	case spec.Port != 0:
		return []int{spec.Port}
	}
	return []int{python.Port, sandboxd.DefaultPort}
}

// transport runs short commands in one pod until it is closed.
type transport interface {
	shell.Transport
	Close() error
}

// runtimes are those of pools that were found out, so that only the first sandbox of each is asked.
type runtimes struct {
	paths sandboxd.Paths // where pods' addresses lead nowhere
	mu    sync.Mutex
	found map[string]detect.Found
}

// runtime makes the transport to a sandbox: the runtime that the spec names, or the one that answers.
func (p *Provider) runtime(ctx context.Context, spec sandbox.Cluster, c *claim.Claim, target connect.Target) (transport, error) {
	exec := podexec.Target{Namespace: c.Namespace, Pod: c.Pod, Container: c.Container, Pool: c.Pool}
	name := spec.Runtime
	if name == "" {
		name = runtimeAuto
	}
	if name == runtimeAuto && c.ExecOnly {
		name = runtimeExec
	}
	switch name {
	case runtimeAuto, runtimePython, runtimeSandboxd:
		found, err := p.detect(ctx, c, target, exec, name)
		if err != nil {
			return nil, err
		}
		name, target.Port = found.Runtime, found.Port
	}
	switch name {
	case runtimePython:
		return python.New(p.connector, target), nil
	case runtimeSandboxd:
		return sandboxd.New(p.connector, target, &p.runtimes.paths), nil
	case runtimeExec:
		return p.exec.Transport(exec), nil
	}
	return nil, &sandbox.Error{Op: "acquire", ID: c.Name, Kind: sandbox.KindUnsupported, Err: fmt.Errorf("there is no runtime %q: auto, python, sandboxd or exec", name)}
}

// ports are those that the containers of a claim's pod declare, as far as this user may know: a server that is declared,
// and has not started yet, is waited for.
func (p *Provider) ports(ctx context.Context, c *claim.Claim) (ports []int) {
	pods, err := p.cluster.Pods(c.Namespace)
	if err != nil {
		return nil
	}
	pod, err := pods.Get(cluster.Patience(ctx, 0), c.Pod, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			ports = append(ports, int(port.ContainerPort))
		}
	}
	return ports
}

// detect finds out which runtime answers in the sandboxes of a claim's pool. One that the recipe names is looked for as well: a
// wrong name or port would else show as a command without an answer, for which the code under test is to blame.
func (p *Provider) detect(ctx context.Context, c *claim.Claim, target connect.Target, exec podexec.Target, name string) (detect.Found, error) {
	r := &p.runtimes
	key := fmt.Sprintf("%s:%d %s", c.Pool, target.Port, name)
	r.mu.Lock()
	found, known := r.found[key]
	r.mu.Unlock()
	if known {
		return found, nil
	}
	t := p.exec.Transport(exec)
	o := detect.Options{Connector: p.connector, Target: target, Paths: &r.paths, Exec: t}
	if name == runtimeAuto {
		o.Ports = p.ports(ctx, c)
	} else {
		o.Only = name
	}
	found, err := detect.Detect(ctx, o)
	if err = errors.Join(err, t.Close()); err != nil {
		return found, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.found == nil {
		r.found = map[string]detect.Found{}
	}
	r.found[key] = found
	return found, nil
}
