//go:build e2e

package e2e

import (
	"io"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// proxy passes connections on to the API server, until it cuts them.
type proxy struct {
	kubeconfig string // leads through it

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	server, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	target := server.Host
	if server.Port() == "" {
		target = net.JoinHostPort(server.Hostname(), "443")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"), conns: map[net.Conn]struct{}{}}
	t.Cleanup(func() { listener.Close(); p.cut() })
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return // closed
			}
			go p.pass(from, target)
		}
	}()
	server.Host = listener.Addr().String()
	writeKubeconfig(t, p.kubeconfig, server.String(), func(c *clientcmdapi.Cluster, u *clientcmdapi.AuthInfo) {
		if c.TLSServerName == "" {
			c.TLSServerName = hostname(target)
		}
	})
	return p
}

func hostname(hostPort string) string {
	host, _, _ := net.SplitHostPort(hostPort) // it was made by JoinHostPort, or parsed
	return host
}

func (p *proxy) pass(from net.Conn, target string) {
	to, err := net.Dial("tcp", target)
	if err != nil {
		from.Close()
		return
	}
	p.mu.Lock()
	p.conns[from], p.conns[to] = struct{}{}, struct{}{}
	p.mu.Unlock()
	for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1]) // its end, for whatever reason, is the end of both
			from.Close()
			to.Close()
		}()
	}
}

// cut ends every connection that there is. New ones are let through.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
		delete(p.conns, c)
	}
}

// writeKubeconfig writes the kubeconfig of the tests with another server, or user.
func writeKubeconfig(t *testing.T, path, server string, change func(*clientcmdapi.Cluster, *clientcmdapi.AuthInfo)) {
	t.Helper()
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	raw, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{}).RawConfig()
	if err != nil {
		t.Fatal(err)
	}
	current := raw.Contexts[raw.CurrentContext]
	cluster, user := raw.Clusters[current.Cluster], raw.AuthInfos[current.AuthInfo]
	if server != "" {
		cluster.Server = server
	}
	change(cluster, user)
	if err := clientcmd.WriteToFile(raw, path); err != nil {
		t.Fatal(err)
	}
}
