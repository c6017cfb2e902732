package cluster

import (
	"sync"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/gentype"
	"k8s.io/client-go/rest"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// builtin knows the few kinds of Kubernetes' own that sandboxes need. client-go's clientset would register every
// kind there is at the start of the program, whether or not it has anything to do with a cluster.
var builtin = sync.OnceValue(func() serializer.CodecFactory {
	s := runtime.NewScheme()
	metav1.AddToGroupVersion(s, schema.GroupVersion{Version: "v1"})
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, coordinationv1.AddToScheme, networkingv1.AddToScheme, discoveryv1.AddToScheme,
	} {
		if err := add(s); err != nil {
			panic(err) // two kinds of one name: a defect of the program
		}
	}
	return serializer.NewCodecFactory(s)
})

var parameters = sync.OnceValue(func() runtime.ParameterCodec {
	s := runtime.NewScheme()
	for _, gv := range []schema.GroupVersion{
		corev1.SchemeGroupVersion, coordinationv1.SchemeGroupVersion, networkingv1.SchemeGroupVersion, discoveryv1.SchemeGroupVersion,
	} {
		metav1.AddToGroupVersion(s, gv)
	}
	return runtime.NewParameterCodec(s)
})

// REST is a client of one group of Kubernetes' own, with patience.
func (c *Cluster) REST(gv schema.GroupVersion) (rest.Interface, error) {
	client, err := c.HTTPClient()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.rest[gv.String()]; ok {
		return r, nil
	}
	config := *c.Config
	config.GroupVersion = &gv
	config.APIPath = "/apis"
	if gv.Group == "" {
		config.APIPath = "/api"
	}
	config.NegotiatedSerializer = builtin().WithoutConversion()
	r, err := rest.RESTClientForConfigAndClient(&config, client)
	if err != nil {
		return nil, &sandbox.Error{Op: "open", Kind: sandbox.KindInternal, Err: err}
	}
	c.rest[gv.String()] = r
	return r, nil
}

// Object is a kind of Kubernetes' own.
type Object interface {
	runtime.Object
	metav1.Object
}

// Resource is a client of one resource in one namespace, as the generated clients are.
func Resource[T Object, L runtime.Object](c *Cluster, gv schema.GroupVersion, name, namespace string, object func() T, list func() L) (*gentype.ClientWithList[T, L], error) {
	r, err := c.REST(gv)
	if err != nil {
		return nil, err
	}
	return gentype.NewClientWithList(name, r, parameters(), namespace, object, list), nil
}

// Pods of one namespace.
func (c *Cluster) Pods(namespace string) (*gentype.ClientWithList[*corev1.Pod, *corev1.PodList], error) {
	return Resource(c, corev1.SchemeGroupVersion, "pods", namespace,
		func() *corev1.Pod { return &corev1.Pod{} }, func() *corev1.PodList { return &corev1.PodList{} })
}

// Events of one namespace.
func (c *Cluster) Events(namespace string) (*gentype.ClientWithList[*corev1.Event, *corev1.EventList], error) {
	return Resource(c, corev1.SchemeGroupVersion, "events", namespace,
		func() *corev1.Event { return &corev1.Event{} }, func() *corev1.EventList { return &corev1.EventList{} })
}

// EndpointSlices of one namespace.
func (c *Cluster) EndpointSlices(namespace string) (*gentype.ClientWithList[*discoveryv1.EndpointSlice, *discoveryv1.EndpointSliceList], error) {
	return Resource(c, discoveryv1.SchemeGroupVersion, "endpointslices", namespace,
		func() *discoveryv1.EndpointSlice { return &discoveryv1.EndpointSlice{} },
		func() *discoveryv1.EndpointSliceList { return &discoveryv1.EndpointSliceList{} })
}

// Leases of one namespace.
func (c *Cluster) Leases(namespace string) (*gentype.ClientWithList[*coordinationv1.Lease, *coordinationv1.LeaseList], error) {
	return Resource(c, coordinationv1.SchemeGroupVersion, "leases", namespace,
		func() *coordinationv1.Lease { return &coordinationv1.Lease{} },
		func() *coordinationv1.LeaseList { return &coordinationv1.LeaseList{} })
}

// NetworkPolicies of one namespace.
func (c *Cluster) NetworkPolicies(namespace string) (*gentype.ClientWithList[*networkingv1.NetworkPolicy, *networkingv1.NetworkPolicyList], error) {
	return Resource(c, networkingv1.SchemeGroupVersion, "networkpolicies", namespace,
		func() *networkingv1.NetworkPolicy { return &networkingv1.NetworkPolicy{} },
		func() *networkingv1.NetworkPolicyList { return &networkingv1.NetworkPolicyList{} })
}
