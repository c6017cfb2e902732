package connect

import (
	"context"
	"fmt"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// routerService is what the router's Service is called wherever it is installed.
const routerService = "sandbox-router-svc"

// router finds the pods behind the router's Service that are ready, and their port.
func (t *tunnel) router(ctx context.Context) (pods []string, port int, err error) {
	client, err := t.cluster.EndpointSlices(t.namespace)
	if err != nil {
		return nil, 0, err
	}
	list, err := client.List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + routerService})
	if err != nil {
		return nil, 0, cluster.Classify("connect", "", fmt.Errorf("the service %s/%s: %w", t.namespace, routerService, err))
	}
	if len(list.Items) == 0 {
		return nil, 0, unsupported("namespace %s has no service %s: install the sandbox router, say where it is with --router-namespace, or use another --connection", t.namespace, routerService)
	}
	for _, slice := range list.Items {
		p := routerPort(slice.Ports)
		for _, e := range slice.Endpoints {
			ready := e.Conditions.Ready == nil || *e.Conditions.Ready
			if p != 0 && ready && e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
				pods, port = append(pods, e.TargetRef.Name), p
			}
		}
	}
	if len(pods) == 0 {
		return nil, 0, unavailable("no pod of the service %s/%s is ready; `kubectl get pods -n %s` tells more", t.namespace, routerService, t.namespace)
	}
	return pods, port, nil
}

// routerPort is the pods' port for plain HTTP, zero if there is none: the one called http, or 8080, else the first.
func routerPort(ports []discoveryv1.EndpointPort) int {
	first := 0
	for _, p := range ports {
		if p.Port == nil || p.Protocol != nil && *p.Protocol != "TCP" {
			continue
		}
		if *p.Port == 8080 || p.Name != nil && *p.Name == "http" {
			return int(*p.Port)
		}
		if first == 0 {
			first = int(*p.Port)
		}
	}
	return first
}
