package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// gateway is the address that a Gateway of the Gateway API has got.
type gateway struct {
	cluster *cluster.Cluster
	opts    Options
	dialer  net.Dialer
	ctx     context.Context // of the shared wait; ended by close
	cancel  context.CancelFunc
	wait    singleflight.Group

	mu    sync.Mutex
	found *entrance
}

func newGateway(c *cluster.Cluster, o Options) (*gateway, error) {
	if o.GatewayName == "" {
		return nil, invalid("--connection gateway needs --gateway-name; `kubectl get gateways -A` lists them")
	}
	if err := checkNamespace("--gateway-namespace", o.GatewayNamespace); err != nil {
		return nil, err
	}
	g := &gateway{cluster: c, opts: o, dialer: net.Dialer{Timeout: dialTimeout}}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g, nil
}

func (g *gateway) String() string { return g.opts.GatewayNamespace + "/" + g.opts.GatewayName }

// ready waits for the address. All callers wait for one look-up, each as long as its own context lasts.
func (g *gateway) ready(ctx context.Context) error {
	if g.entrance() != nil {
		return nil
	}
	select {
	case r := <-g.wait.DoChan("", func() (any, error) { return nil, g.find() }):
		return r.Err
	case <-ctx.Done():
		return unavailable("waiting for the address of gateway %s: %w", g, context.Cause(ctx))
	}
}

func (g *gateway) entrance() *entrance {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.found
}

func (g *gateway) url(Target) (string, error) { return g.entrance().url(), nil }

// dial connects to the Gateway's address for the name that its listener is for.
func (g *gateway) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if e := g.entrance(); e != nil && address == e.named() {
		address = e.address()
	}
	return g.dialer.DialContext(ctx, network, address)
}

func (g *gateway) close() error {
	g.cancel()
	return nil
}

func (g *gateway) find() error {
	limit := fmt.Errorf("it has none after %v", g.opts.GatewayTimeout)
	ctx, cancel := context.WithTimeoutCause(g.ctx, g.opts.GatewayTimeout, limit)
	defer cancel()
	client, err := g.cluster.HTTPClient()
	if err != nil {
		return err
	}
	gateways, err := dynamic.NewForConfigAndClient(g.cluster.Config, client)
	if err != nil {
		return unsupported("%w", err)
	}
	var last gatewayObject
	e, err := g.await(ctx, gateways.Resource(gatewayResource).Namespace(g.opts.GatewayNamespace), &last)
	if err != nil && errors.Is(context.Cause(ctx), limit) { // which the user has set: no other sandbox waits for it once more
		return unsupported("gateway %s has no address: %w%s; is its controller installed? `kubectl describe gateway -n %s %s` tells more; --gateway-timeout is how long to wait",
			g, context.Cause(ctx), last.troubles(), g.opts.GatewayNamespace, g.opts.GatewayName)
	}
	if err != nil && ctx.Err() != nil {
		return unavailable("gateway %s: %w", g, context.Cause(ctx))
	}
	if err != nil {
		return g.explain(err)
	}
	if err := guardToken(g.opts, e.parsed()); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.found = e
	return nil
}

var gatewayResource = schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"}

// errDeleted is the end of a Gateway while its address was waited for.
var errDeleted = errors.New("it was deleted")

// await looks once, and then watches for changes. It needs no more than get and watch of this one object.
func (g *gateway) await(ctx context.Context, gateways dynamic.ResourceInterface, last *gatewayObject) (*entrance, error) {
	for {
		u, err := gateways.Get(ctx, g.opts.GatewayName, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		if e, err := last.read(u); e != nil || err != nil {
			return e, err
		}
		w, err := gateways.Watch(ctx, metav1.SingleObject(metav1.ObjectMeta{Name: g.opts.GatewayName, ResourceVersion: u.GetResourceVersion()}))
		if err != nil && !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
			return nil, err
		}
		if err == nil {
			e, err := follow(w, last)
			if e != nil || err != nil {
				return e, err
			}
		}
		// A watch ends now and then; one that ends at once must not become a busy loop.
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// follow reads a watch to its end. Neither an entrance nor an error: look again.
func follow(w watch.Interface, last *gatewayObject) (*entrance, error) {
	defer w.Stop()
	for event := range w.ResultChan() {
		u, ok := event.Object.(*unstructured.Unstructured)
		if !ok {
			return nil, nil // an error of the watch
		}
		if event.Type == watch.Deleted {
			return nil, errDeleted
		}
		if e, err := last.read(u); e != nil || err != nil {
			return e, err
		}
	}
	return nil, nil
}

func (g *gateway) explain(err error) error {
	status, _ := errors.AsType[*apierrors.StatusError](err)
	switch {
	case errors.Is(err, errDeleted):
		return unsupported("gateway %s: %w while its address was waited for", g, err)
	case apierrors.IsNotFound(err) && status.ErrStatus.Details != nil && status.ErrStatus.Details.Name == g.opts.GatewayName:
		return unsupported("there is no gateway %s: correct --gateway-name and --gateway-namespace; `kubectl get gateways -A` lists them", g)
	case apierrors.IsNotFound(err):
		return unsupported("the cluster does not serve the Gateway API (gateways.gateway.networking.k8s.io/v1), so there is no gateway %s: use another --connection", g)
	}
	return cluster.Classify("connect", "", fmt.Errorf("gateway %s: %w", g, err))
}

// gatewayObject is what is read of a Gateway.
type gatewayObject struct {
	Spec struct {
		GatewayClassName string     `json:"gatewayClassName"`
		Listeners        []listener `json:"listeners"`
	} `json:"spec"`
	Status struct {
		Addresses []struct {
			Type  string `json:"type"`
			Value string `json:"value"`
		} `json:"addresses"`
		Conditions []metav1.Condition `json:"conditions"`
	} `json:"status"`
}

// read keeps what it reads, for the error if this was the last that was seen.
func (o *gatewayObject) read(u *unstructured.Unstructured) (*entrance, error) {
	*o = gatewayObject{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, o); err != nil {
		return nil, err
	}
	return o.entrance()
}

// troubles says what the Gateway's controller finds wrong.
func (o *gatewayObject) troubles() string {
	var b strings.Builder
	fmt.Fprintf(&b, " (class %s", o.Spec.GatewayClassName)
	for _, c := range o.Status.Conditions {
		if c.Status != metav1.ConditionTrue && (c.Type == "Accepted" || c.Type == "Programmed") {
			fmt.Fprintf(&b, "; not %s: %s: %s", c.Type, c.Reason, c.Message)
		}
	}
	return b.String() + ")"
}
