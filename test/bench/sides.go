package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientset "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	upstream "sigs.k8s.io/agent-sandbox/clients/go/sandbox"
	"sigs.k8s.io/agent-sandbox/clients/k8s/extensions/clientset/versioned"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes"
)

// sides are the two clients and the cluster they share.
type sides struct {
	options
	dir      string
	ours     sandbox.Provider
	theirs   *upstream.Client
	clusters versioned.Interface // to look at the pool
}

func openSides(ctx context.Context, o options) (*sides, error) {
	s := &sides{options: o}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		return nil, err
	}
	if s.clusters, err = versioned.NewForConfig(config); err != nil {
		return nil, err
	}
	pool, err := s.clusters.ExtensionsV1beta1().SandboxWarmPools(o.namespace).Get(ctx, o.pool, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if pool.Spec.Replicas != nil {
		s.warm = int(*pool.Spec.Replicas)
	}
	if s.warm == 0 {
		return nil, fmt.Errorf("the pool %s keeps no sandbox warm", o.pool)
	}
	if s.apiURL == "" {
		if s.apiURL, err = router(ctx, config); err != nil {
			return nil, err
		}
	}
	theirConfig := rest.CopyConfig(config)
	theirConfig.UserAgent = "upstream"
	theirConfig.QPS = -1 // as ours: what is measured is not a limit that users of either can lift
	s.theirs, err = upstream.NewClient(ctx, upstream.Options{RestConfig: theirConfig, Namespace: o.namespace, APIURL: s.apiURL, Logger: logr.Discard(), Quiet: true})
	if err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "sbxrun-bench-"); err != nil {
		return nil, err
	}
	s.ours, err = kubernetes.Open(ctx, kubernetes.Options{
		Connection: kubernetes.ConnectionDirect, APIURL: s.apiURL,
		Run:       sandbox.Run{ID: fmt.Sprintf("bench-%d", time.Now().Unix()), Dir: s.dir, Size: o.workers},
		Namespace: o.namespace, Default: kubernetes.Source{WarmPool: o.pool},
	})
	return s, err
}

// router is the address of the router's service.
func router(ctx context.Context, config *rest.Config) (string, error) {
	client, err := clientset.NewForConfig(config)
	if err != nil {
		return "", err
	}
	service, err := client.CoreV1().Services(kubernetes.DefaultRouterNamespace).Get(ctx, "sandbox-router-svc", metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return "http://" + net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(service.Spec.Ports[0].Port))), nil
}

func (s *sides) close(ctx context.Context) error {
	s.theirs.DeleteAll(ctx)
	return errors.Join(s.ours.Close(ctx), os.RemoveAll(s.dir))
}

// full waits until the pool holds as many sandboxes as it is to keep, so that the next claim finds a warm one.
func (s *sides) full(ctx context.Context) error {
	for {
		pool, err := s.clusters.ExtensionsV1beta1().SandboxWarmPools(s.namespace).Get(ctx, s.pool, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if int(pool.Status.ReadyReplicas) == s.warm && pool.Status.Replicas == pool.Status.ReadyReplicas {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// ask runs a command that prints a word in one of ours.
func ask(ctx context.Context, sb sandbox.Sandbox, word string) error {
	var out strings.Builder
	result, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"echo", word}, Timeout: time.Minute}, &out, nil)
	if err == nil && (result.Exit != 0 || strings.TrimSpace(out.String()) != word) {
		err = fmt.Errorf("echo %s: exit %d, %q", word, result.Exit, out.String())
	}
	return err
}

// askTheirs does the same with theirs.
func askTheirs(ctx context.Context, sb *upstream.Sandbox, word string) error {
	result, err := sb.Run(ctx, "echo "+word)
	if err == nil && (result.ExitCode != 0 || strings.TrimSpace(result.Stdout) != word) {
		err = fmt.Errorf("echo %s: exit %d, %q", word, result.ExitCode, result.Stdout)
	}
	return err
}

func (s *sides) acquire(ctx context.Context, group string) (sandbox.Sandbox, error) {
	return s.ours.Acquire(ctx, sandbox.Spec{Name: "bench", Group: group, Limits: sandbox.DefaultLimits})
}
