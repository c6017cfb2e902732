//go:build e2e

package e2e

import (
	"strings"

	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes"
)

// mode is a way to sandboxes, as the command line says it and as the library does.
type mode struct {
	name    string
	flags   func() []string
	options func(o *kubernetes.Options)
}

// outside are the modes of a machine that is no pod.
var outside = []mode{
	{"tunnel", func() []string { return []string{"--connection", "tunnel", "--router-namespace", set.router} },
		func(o *kubernetes.Options) { o.Connection, o.RouterNamespace = kubernetes.ConnectionTunnel, set.router }},
	{"gateway", func() []string { return gatewayFlags(set.gateway) },
		func(o *kubernetes.Options) { gatewayOptions(o, set.gateway) }},
	{"gateway-tls", func() []string { return append(gatewayFlags(set.secure), "--ca-file", set.ca) },
		func(o *kubernetes.Options) { gatewayOptions(o, set.secure); o.CAFile = set.ca }},
	{"direct", func() []string { return []string{"--connection", "direct", "--api-url", set.url} },
		func(o *kubernetes.Options) { o.Connection, o.APIURL = kubernetes.ConnectionDirect, set.url }},
}

// inPod are the modes of a pod.
var inPod = []mode{
	{"pod-ip", func() []string { return []string{"--connection", "in-cluster", "--pod-ip"} },
		func(o *kubernetes.Options) { o.Connection, o.PodIP = kubernetes.ConnectionInCluster, true }},
	{"dns", func() []string { return []string{"--connection", "in-cluster"} },
		func(o *kubernetes.Options) { o.Connection = kubernetes.ConnectionInCluster }},
}

func gatewayFlags(gateway string) []string {
	namespace, name, _ := strings.Cut(gateway, "/")
	return []string{"--connection", "gateway", "--gateway-namespace", namespace, "--gateway-name", name, "--gateway-timeout", "30s"}
}

func gatewayOptions(o *kubernetes.Options, gateway string) {
	o.Connection = kubernetes.ConnectionGateway
	o.GatewayNamespace, o.GatewayName, _ = strings.Cut(gateway, "/")
}
