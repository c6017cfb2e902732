package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

//go:embed manifests
var manifests embed.FS

// install applies the release's own manifests of Agent Sandbox and the Gateway API, then those of this cluster: the
// router, a gateway before it, and a template with a warm pool for each runtime.
func (c *cluster) install(ctx context.Context) error {
	released, err := c.released(ctx)
	if err != nil {
		return err
	}
	if err := c.apply(ctx, released); err != nil {
		return err
	}
	secret, err := c.gatewaySecret()
	if err != nil {
		return err
	}
	if err := c.apply(ctx, secret); err != nil {
		return err
	}
	if err := c.applyOwn(ctx, "system.yaml"); err != nil {
		return err
	}
	if err := c.kubectl(ctx, nil, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"); err != nil {
		return err
	}
	for _, deployment := range []string{"agent-sandbox-controller", "sandbox-router", "gateway"} {
		if err := c.kubectl(ctx, nil, "rollout", "status", "--namespace=agent-sandbox-system", "deployment/"+deployment, "--timeout=180s"); err != nil {
			return err
		}
	}
	if err := c.applyOwn(ctx, "gateways.yaml"); err != nil {
		return err
	}
	for _, name := range []string{"sandbox-gateway", "sandbox-gateway-tls"} {
		if err := c.acceptGateway(ctx, name); err != nil {
			return err
		}
	}
	if err := c.applyOwn(ctx, "sandboxes.yaml"); err != nil {
		return err
	}
	if err := c.await(ctx, 2*time.Minute, "the warm pools", func() error { return c.warm(ctx) }); err != nil {
		return err
	}
	return c.write("up", nil)
}

var controllerImage = regexp.MustCompile(`ko://\S*/agent-sandbox-controller.*`)

// released are the manifests of both releases; of the controller's two the one with extensions comes last and stays.
func (c *cluster) released(ctx context.Context) ([]byte, error) {
	sandboxes, err := c.module(ctx, "agent-sandbox", "sigs.k8s.io/agent-sandbox")
	if err != nil {
		return nil, err
	}
	gateways, err := c.module(ctx, ".", "sigs.k8s.io/gateway-api")
	if err != nil {
		return nil, err
	}
	var all bytes.Buffer
	for _, pattern := range []string{
		filepath.Join(gateways, "config/crd/standard/*.yaml"),
		filepath.Join(sandboxes, "k8s/crds/*.yaml"),
		filepath.Join(sandboxes, "k8s/controller.yaml"),
		filepath.Join(sandboxes, "k8s/rbac.generated.yaml"),
		filepath.Join(sandboxes, "k8s/extensions.yaml"),
		filepath.Join(sandboxes, "k8s/extensions-rbac.generated.yaml"),
		filepath.Join(sandboxes, "k8s/extensions.controller.yaml"),
	} {
		files, err := filepath.Glob(pattern)
		if err == nil && len(files) == 0 {
			err = fs.ErrNotExist
		}
		if err != nil {
			return nil, fmt.Errorf("manifests %s: %w", pattern, err)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				return nil, err
			}
			all.WriteString("---\n")
			all.Write(controllerImage.ReplaceAll(data, []byte(registry+"agent-sandbox-controller:1")))
			all.WriteString("\n")
		}
	}
	return all.Bytes(), nil
}

// apply is server-side: some definitions are too large for the annotation of the other way.
func (c *cluster) apply(ctx context.Context, yaml []byte) error {
	return c.kubectl(ctx, bytes.NewReader(yaml), "apply", "--server-side", "--force-conflicts", "-f", "-")
}

func (c *cluster) applyOwn(ctx context.Context, name string) error {
	data, err := fs.ReadFile(manifests, "manifests/"+name)
	if err != nil {
		return err
	}
	return c.apply(ctx, data)
}

func (c *cluster) gatewaySecret() ([]byte, error) {
	data := map[string][]byte{}
	for key, file := range map[string]string{"tls.crt": "gateway.crt", "tls.key": "gateway.key"} {
		content, err := os.ReadFile(c.pki(file))
		if err != nil {
			return nil, err
		}
		data[key] = content
	}
	return json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "data": data,
		"metadata": map[string]any{"name": "gateway-tls", "namespace": "agent-sandbox-system"},
	})
}

// acceptGateway does what a controller of gateways does when its data plane is ready: it writes the address.
func (c *cluster) acceptGateway(ctx context.Context, name string) error {
	const object = "/apis/gateway.networking.k8s.io/v1/namespaces/agent-sandbox-system/gateways/"
	data, err := c.kubectlOutput(ctx, nil, "get", "--raw", object+name)
	if err != nil {
		return err
	}
	var gateway map[string]any
	if err := json.Unmarshal(data, &gateway); err != nil {
		return err
	}
	now := time.Now().UTC().Format(time.RFC3339)
	condition := func(kind string) map[string]any {
		return map[string]any{"type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": now}
	}
	gateway["status"] = map[string]any{
		"addresses":  []any{map[string]any{"type": "IPAddress", "value": gatewayIP}},
		"conditions": []any{condition("Accepted"), condition("Programmed")},
	}
	if data, err = json.Marshal(gateway); err != nil {
		return err
	}
	return c.kubectl(ctx, bytes.NewReader(data), "replace", "--raw", object+name+"/status", "-f", "-")
}

// warm says whether every warm pool is full.
func (c *cluster) warm(ctx context.Context) error {
	data, err := c.kubectlOutput(ctx, nil, "get", "--all-namespaces", "-o", "json", "sandboxwarmpools")
	if err != nil {
		return err
	}
	var pools struct {
		Items []struct {
			Spec   struct{ Replicas int }
			Status struct{ ReadyReplicas int }
		}
	}
	if err := json.Unmarshal(data, &pools); err != nil {
		return err
	}
	for _, p := range pools.Items {
		if p.Status.ReadyReplicas < p.Spec.Replicas {
			return errors.New("not all sandboxes are ready")
		}
	}
	return nil
}
