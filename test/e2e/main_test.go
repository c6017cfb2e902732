//go:build e2e

// Package e2e runs sbxrun against a real Kubernetes with Agent Sandbox: the conformance suite and recipes over every
// connection and runtime, faults, what ships in deploy/, and what is left afterwards, which must be nothing. It is for
// what only a cluster can show; what a recipe means is tested beside the packages and in test/golden.
//
// `make e2e` runs it, in the cluster of test/cluster, or in the one that KUBECONFIG names. Without a cluster it fails.
package e2e

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// setting are what differs between clusters, from the environment. The cluster of test/cluster needs none of it to be said.
type settings struct {
	python   string // SBXRUN_E2E_PYTHON_IMAGE: the Python runtime
	sandboxd string // SBXRUN_E2E_SANDBOXD_IMAGE: sandboxd
	plain    string // SBXRUN_E2E_PLAIN_IMAGE: sh, coreutils, setsid and python3, and a program that waits
	self     string // SBXRUN_E2E_IMAGE: /sbxrun and /e2e.test, static, of this checkout
	gateway  string // SBXRUN_E2E_GATEWAY: NAMESPACE/NAME of a Gateway that leads to the router over http
	secure   string // SBXRUN_E2E_GATEWAY_TLS: the same over https
	ca       string // SBXRUN_E2E_CA_FILE: what signs the latter's certificate
	url      string // SBXRUN_E2E_URL: the router, for --connection direct
	router   string // SBXRUN_E2E_ROUTER_NAMESPACE: of sandbox-router-svc
}

// What the tests share.
var (
	set    settings
	config *rest.Config
	api    dynamic.Interface
	binary string // sbxrun
	own    *ownCluster
	runID  = strings.ToLower(rand.Text()[:6])
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func prepare() error {
	var err error
	if os.Getenv(suiteVar) != "" && os.Getenv("KUBECONFIG") == "" {
		return nil // in a pod, where the provider finds its own way
	}
	if binary, err = filepath.Abs(os.Getenv("SBXRUN_BINARY")); err != nil || os.Getenv("SBXRUN_BINARY") == "" {
		return errors.New("SBXRUN_BINARY names no built sbxrun: run this with make e2e")
	}
	if os.Getenv("KUBECONFIG") == "" {
		return errors.New("there is no cluster: make cluster-up, or let KUBECONFIG name one")
	}
	if config, err = clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG")); err != nil {
		return err
	}
	config.QPS = -1
	if api, err = dynamic.NewForConfig(config); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := answers(ctx); err != nil {
		return fmt.Errorf("the cluster of KUBECONFIG does not answer: %w", err)
	}
	if state := os.Getenv("SBXRUN_CLUSTER_STATE"); state != "" {
		own = &ownCluster{program: os.Getenv("SBXRUN_CLUSTER"), state: state}
		if os.Getenv(suiteVar) == "" { // whose parent has it
			if err := own.lock(); err != nil {
				return err
			}
		}
		return own.settings(ctx)
	}
	return foreignSettings()
}

// foreignSettings reads what must be said of a cluster that is not test/cluster's.
func foreignSettings() error {
	var missing []string
	for name, value := range map[string]*string{
		"PYTHON_IMAGE": &set.python, "SANDBOXD_IMAGE": &set.sandboxd, "PLAIN_IMAGE": &set.plain, "IMAGE": &set.self,
		"GATEWAY": &set.gateway, "GATEWAY_TLS": &set.secure, "CA_FILE": &set.ca, "URL": &set.url, "ROUTER_NAMESPACE": &set.router,
	} {
		if *value = os.Getenv("SBXRUN_E2E_" + name); *value == "" {
			missing = append(missing, "SBXRUN_E2E_"+name)
		}
	}
	if missing != nil {
		return fmt.Errorf("of this cluster must be said, too: %s (see test/e2e/main_test.go)", strings.Join(missing, ", "))
	}
	return nil
}
