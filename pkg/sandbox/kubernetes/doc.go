// Package kubernetes provides sandboxes of a Kubernetes cluster with Agent Sandbox (kubernetes-sigs/agent-sandbox).
//
// A sandbox is composed of three things that know nothing of each other:
//
//   - a claim (internal/claim): a SandboxClaim that the cluster answers with a pod, from a warm pool or started for it;
//   - a connection (internal/connect): how its pod is reached, through a gateway, a tunnel, from inside the cluster, or by a URL;
//   - a runtime (internal/runtime): what in the pod runs a short command: the Python runtime, sandboxd, or the API server's pods/exec.
//
// internal/shell makes of such short commands what package sandbox promises: commands of any length that run exactly
// once, streams, limits, files. This package only puts them together, and adds what people do outside a run: attach,
// list and delete sandboxes, see what a cluster can do, and remove what killed runs left.
//
// Client libraries of Kubernetes and gRPC are imported below this package and nowhere else.
package kubernetes
