package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Addresses are the cluster's own: its network namespace is separate, so that they cannot clash with the machine's.
const (
	namespace   = "sbxrun-cluster" // of the network, and the node's name
	nodeIP      = "10.241.0.10"
	podCIDR     = "10.245.0.0/20"
	serviceCIDR = "10.97.0.0/16"
	apiIP       = "10.97.0.1"  // the first of serviceCIDR, as the API server takes it
	gatewayIP   = "10.97.0.80" // of the Service before the gateway's pods
	domain      = "cluster.local"
	registry    = "sbxrun.test/" // before the names of images; there is no such registry
)

// cluster knows where everything is.
type cluster struct {
	home   string // ${XDG_CACHE_HOME:-~/.cache}/sbxrun-cluster
	source string // test/cluster of the checkout; only up and build need it
}

func locate() (*cluster, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	source, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	return &cluster{home: filepath.Join(cache, "sbxrun-cluster"), source: source}, nil
}

// path is below the cluster's folder: bin and images stay, root is the debootstrap root, state goes with the cluster.
func (c *cluster) path(elem ...string) string {
	return filepath.Join(append([]string{c.home}, elem...)...)
}

func (c *cluster) kubeconfig() string         { return c.path("state", "kubeconfig") }
func (c *cluster) logs() string               { return c.path("state", "logs") }
func (c *cluster) pki(name string) string     { return c.path("state", "pki", name) }
func (c *cluster) program(name string) string { return c.path("bin", name) }

// inside is a command line that runs argv in the network namespace. It is nsenter and not `ip netns exec`, which mounts
// another /sys and so hides the control groups from the kubelet.
func (c *cluster) inside(argv ...string) []string {
	return append([]string{"nsenter", "--net=/run/netns/" + namespace}, argv...)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
