//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
)

// The resources that tests make or look at.
var (
	namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	volumes    = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumes"}
	pods       = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	services   = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	accounts   = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	roles      = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}
	bindings   = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"}
	leases     = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
	policies   = schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}
	sandboxes  = schema.GroupVersionResource{Group: "agents.x-k8s.io", Version: "v1beta1", Resource: "sandboxes"}
	claims     = schema.GroupVersionResource{Group: "extensions.agents.x-k8s.io", Version: "v1beta1", Resource: "sandboxclaims"}
	templates  = schema.GroupVersionResource{Group: "extensions.agents.x-k8s.io", Version: "v1beta1", Resource: "sandboxtemplates"}
	warmPools  = schema.GroupVersionResource{Group: "extensions.agents.x-k8s.io", Version: "v1beta1", Resource: "sandboxwarmpools"}
)

var kinds = map[string]schema.GroupVersionResource{
	"Pod": pods, "PersistentVolume": volumes, "ServiceAccount": accounts, "ConfigMap": configMaps, "Role": roles, "Job": jobs, "RoleBinding": bindings,
	"SandboxTemplate": templates, "SandboxWarmPool": warmPools,
}

// patience is for what a loaded machine needs to do; it is never slept through.
const patience = 2 * time.Minute

//go:embed templates.yaml
var templatesYAML string

// world is a namespace of one test's own, with the templates of templates.yaml. Whatever else is in it when the test
// ends was left behind.
type world struct {
	t    *testing.T
	name string
	env  []string // added to what sbxrun sees
}

func answers(ctx context.Context) error {
	_, err := api.Resource(claims).Namespace("default").List(ctx, metav1.ListOptions{Limit: 1})
	return err
}

// newWorld makes a namespace, with warm pools named as the templates and of the sizes given ("python", 2, ...).
func newWorld(t *testing.T, pools ...any) *world {
	t.Helper()
	slug := strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, t.Name()), "-")
	w := &world{t: t, name: fmt.Sprintf("e2e-%s-%.40s-%04x", runID, slug, time.Now().UnixNano()&0xffff)}
	w.name = strings.ReplaceAll(w.name, "--", "-")
	w.make(namespaces, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": w.name, "labels": map[string]any{"sbxrun-e2e": runID}},
	}})
	w.apply(templatesFor())
	for i := 0; i < len(pools); i += 2 {
		w.pool(pools[i].(string), pools[i+1].(int))
	}
	return w
}

// templatesFor are the templates with this cluster's images.
func templatesFor() string {
	return strings.NewReplacer("PYTHON", set.python, "SANDBOXD", set.sandboxd, "PLAIN", set.plain).Replace(templatesYAML)
}

// in is the world for a subtest.
func (w *world) in(t *testing.T) *world { return &world{t, w.name, w.env} }

// make makes one object, in the test's namespace where it has one.
func (w *world) make(resource schema.GroupVersionResource, object *unstructured.Unstructured) {
	w.t.Helper()
	var client dynamic.ResourceInterface = api.Resource(resource).Namespace(cmp.Or(object.GetNamespace(), w.name))
	cluster := resource == namespaces || resource == volumes
	if cluster {
		client = api.Resource(resource)
	}
	if cluster || object.GetNamespace() != "" && object.GetNamespace() != w.name {
		w.t.Cleanup(func() {
			err := client.Delete(context.Background(), object.GetName(), metav1.DeleteOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				w.t.Errorf("deleting %s %s: %v", object.GetKind(), object.GetName(), err)
			}
		})
	}
	if _, err := client.Create(w.t.Context(), object, metav1.CreateOptions{}); err != nil {
		w.t.Fatalf("making %s %s: %v", object.GetKind(), object.GetName(), err)
	}
}

// apply makes the objects of a YAML text.
func (w *world) apply(text string) {
	w.t.Helper()
	for d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(text)), 4096); ; {
		object := &unstructured.Unstructured{}
		err := d.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			w.t.Fatal(err)
		}
		if object.Object == nil {
			continue
		}
		resource, known := kinds[object.GetKind()]
		if !known {
			w.t.Fatalf("kind %q is not in kinds", object.GetKind())
		}
		w.make(resource, object)
	}
}

// pool makes a warm pool of a template, and waits until it is full.
func (w *world) pool(template string, size int) {
	w.t.Helper()
	w.apply(fmt.Sprintf(`{apiVersion: extensions.agents.x-k8s.io/v1beta1, kind: SandboxWarmPool, metadata: {name: %s},
		spec: {replicas: %d, sandboxTemplateRef: {name: %[1]s}}}`, template, size))
	w.full(template, size)
}

// full waits until a pool has its size.
func (w *world) full(pool string, size int) {
	w.t.Helper()
	w.eventually("the pool "+pool+" is full", func() error {
		p, err := api.Resource(warmPools).Namespace(w.name).Get(w.t.Context(), pool, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if ready, _, _ := unstructured.NestedInt64(p.Object, "status", "readyReplicas"); ready < int64(size) {
			return fmt.Errorf("%d of %d are ready", ready, size)
		}
		return nil
	})
}

// eventually waits until f is nil.
func (w *world) eventually(what string, f func() error) {
	w.t.Helper()
	if err := within(patience, f); err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
}

func within(limit time.Duration, f func() error) error {
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		err := f()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

// list is what there is of a resource, as the cluster's administrator.
func (w *world) list(resource schema.GroupVersionResource) []unstructured.Unstructured {
	w.t.Helper()
	list, err := api.Resource(resource).Namespace(w.name).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatalf("listing %s: %v", resource.Resource, err)
	}
	return list.Items
}

// left names what sbxrun has left in the namespace. What the test made is not sbxrun's, nor are sandboxes of the test's
// pools and policies that the controller writes for its templates.
func (w *world) left(made ...string) []string {
	w.t.Helper()
	var left []string
	made = append(made, "python", "sandboxd", "plain", "service")
	for _, resource := range []schema.GroupVersionResource{claims, sandboxes, templates, warmPools, policies, leases} {
		for _, object := range w.list(resource) {
			if slices.Contains(made, object.GetName()) || slices.ContainsFunc(object.GetOwnerReferences(), func(o metav1.OwnerReference) bool {
				return (o.Kind == "SandboxWarmPool" || o.Kind == "SandboxTemplate") && slices.Contains(made, o.Name)
			}) {
				continue
			}
			left = append(left, resource.Resource+"/"+object.GetName())
		}
	}
	return left
}

// clean checks that nothing is left. Claims and sandboxes must be gone by the time that sbxrun ends; what the cluster's
// own garbage collector takes after the Lease that owned it has a moment.
func (w *world) clean(made ...string) {
	w.t.Helper()
	for _, name := range w.left(made...) {
		if strings.HasPrefix(name, "sandboxclaims/") {
			w.t.Errorf("%s is left when sbxrun has ended", name)
		}
	}
	if err := within(20*time.Second, func() error {
		if left := w.left(made...); len(left) > 0 {
			return fmt.Errorf("left: %v", left)
		}
		return nil
	}); err != nil {
		w.t.Error(err)
	}
}
