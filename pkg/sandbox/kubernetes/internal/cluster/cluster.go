// Package cluster is the way to one API server: it finds the configuration by kubectl's rules, makes REST clients that
// wait for an API server that is away, counts what is asked of it, and turns its errors into *sandbox.Error that say
// what to do. What is asked belongs in the packages that ask (claim, connect, runtime).
package cluster

import (
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Options say which cluster, and as whom. The zero value follows kubectl: KUBECONFIG, ~/.kube/config, the current context,
// and in a pod without either its ServiceAccount.
type Options struct {
	Kubeconfig string // a file; it takes the place of KUBECONFIG
	Context    string // of the kubeconfig
	Namespace  string // empty: the context's, in a pod the pod's own, else "default"
}

// Cluster is one API server and the namespace to work in.
type Cluster struct {
	// Config is for what must not be repeated blindly (exec, port-forward). It counts requests and does not retry.
	Config *rest.Config
	// Namespace is never empty.
	Namespace string
	// Requests counts what was sent, retries too.
	Requests *Counter

	mu     sync.Mutex
	client *http.Client
	rest   map[string]rest.Interface
}

// Open reads the configuration. It makes no request. The error is an *sandbox.Error: of KindInvalid where Kubeconfig or
// Context name what is not there, else of KindUnsupported.
func Open(o Options) (*Cluster, error) {
	// client-go writes warnings to stderr by itself, over the console of whoever uses it.
	quiet.Do(func() { klog.SetLogger(logr.Discard()) })
	config, namespace, err := load(o)
	if err != nil {
		kind := sandbox.KindUnsupported
		if o.Kubeconfig != "" || o.Context != "" {
			kind = sandbox.KindInvalid
		}
		return nil, &sandbox.Error{Op: "open", Kind: kind, Err: err}
	}
	c := &Cluster{Config: config, Namespace: namespace, Requests: &Counter{}, rest: map[string]rest.Interface{}}
	config.QPS = -1 // the server says when it is too much (429), and is then listened to
	config.UserAgent = "sbxrun"
	config.WarningHandlerWithContext = rest.NoWarnings{}
	config.Wrap(c.Requests.wrap)
	return c, nil
}

var quiet sync.Once

// HTTPClient is authenticated, and repeats requests while the API server is away: see Patience. Use it only for
// requests that may be sent twice.
func (c *Cluster) HTTPClient() (*http.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		plain, err := rest.HTTPClientFor(c.Config)
		if err != nil {
			return nil, &sandbox.Error{Op: "open", Kind: sandbox.KindUnsupported, Err: err}
		}
		client := *plain
		client.Transport = patient(plain.Transport)
		c.client = &client
	}
	return c.client, nil
}

// Now is the time by the API server's clock; see Counter.Now.
func (c *Cluster) Now() time.Time { return c.Requests.Now() }

// Close gives up idle connections.
func (c *Cluster) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
}

// load follows kubectl's rules.
func load(o Options) (*rest.Config, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.Kubeconfig
	over := &clientcmd.ConfigOverrides{CurrentContext: o.Context}
	over.Context.Namespace = o.Namespace
	kubectl := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, over)
	config, err := kubectl.ClientConfig()
	if err != nil {
		return nil, "", explain(rules, o, err)
	}
	namespace, _, err := kubectl.Namespace()
	if err != nil {
		return nil, "", explain(rules, o, err)
	}
	return config, namespace, nil
}
