package claim

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	follow "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	v1beta1 "sigs.k8s.io/agent-sandbox/extensions/api/v1beta1"

	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// watch is the one watch of a run's claims. It is the store of a client-go Reflector, which lists, watches on from
// there, and starts over where the server asks for it or comes back.
type watch struct {
	api api

	mu      sync.Mutex
	entries map[string]*entry // those that somebody waits for
	live    map[string]bool   // the claims that there are
	news    chan struct{}     // closed, and made again, when live or refused changes
	refused error             // the server will never let it watch
	stopped chan struct{}
}

func (c *Claims) startWatch() *watch {
	w := &watch{api: c.api, entries: map[string]*entry{}, live: map[string]bool{}, news: make(chan struct{}), stopped: make(chan struct{})}
	only := selector(c.o.Run.ID)
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = only
			list, err := w.api.raw(ctx, o)
			w.answered(err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (follow.Interface, error) {
			o.LabelSelector = only
			stream, err := w.api.follow(ctx, o)
			w.answered(err)
			return stream, err
		},
	}
	log := logr.Discard()
	r := cache.NewReflectorWithOptions(lw, nil, w, cache.ReflectorOptions{
		Logger: &log, Name: "claims", TypeDescription: "SandboxClaim",
		Backoff: &wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Cap: 2 * time.Second, Steps: 1000, Jitter: 0.5},
	})
	go func() {
		defer close(w.stopped)
		r.RunWithContext(klog.NewContext(c.base, log))
	}()
	return w
}

// answered keeps an error that will not get better. Everything else the Reflector tries again.
func (w *watch) answered(err error) {
	if err != nil && !apierrors.IsForbidden(err) && !apierrors.IsUnauthorized(err) && !apierrors.IsNotFound(err) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && w.refused == nil {
		return
	}
	w.refused = cluster.Classify("watch", "", err)
	w.tell()
}

// err is why there will be no news.
func (w *watch) err() (news <-chan struct{}, refused error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.news, w.refused
}

// tell wakes everyone who waits for news. w.mu is held.
func (w *watch) tell() {
	close(w.news)
	w.news = make(chan struct{})
}

func (w *watch) enter(name string) *entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := newEntry(name)
	w.entries[name] = e
	return e
}

// forget is for claims that are down, or were never made.
func (w *watch) forget(e *entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.entries[e.name] == e {
		delete(w.entries, e.name)
	}
}

// left names the claims that there still are, as far as the watch knows.
func (w *watch) left() (names []string, news <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.live {
		names = append(names, name)
	}
	return names, w.news
}

// Add is part of cache.ReflectorStore.
func (w *watch) Add(object any) error { return w.Update(object) }

// Update is part of cache.ReflectorStore.
func (w *watch) Update(object any) error {
	c, err := w.api.claim(object)
	if err != nil {
		return err
	}
	w.deliver(c)
	return nil
}

func (w *watch) deliver(c *v1beta1.SandboxClaim) {
	w.mu.Lock()
	if !w.live[c.Name] {
		w.live[c.Name] = true
		w.tell()
	}
	e := w.entries[c.Name]
	w.mu.Unlock()
	if e != nil {
		e.deliver(c)
	}
}

// Delete is part of cache.ReflectorStore.
func (w *watch) Delete(object any) error {
	if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = last.Obj
	}
	c, err := w.api.claim(object)
	if err != nil {
		return err
	}
	w.remove(c.Name)
	return nil
}

func (w *watch) remove(name string) {
	w.mu.Lock()
	delete(w.live, name)
	w.tell()
	e := w.entries[name]
	w.mu.Unlock()
	if e != nil {
		e.remove()
	}
}

// Replace is part of cache.ReflectorStore: what the list does not have went while nobody watched.
func (w *watch) Replace(objects []any, version string) error {
	there := map[string]bool{}
	for _, o := range objects {
		c, err := w.api.claim(o)
		if err != nil {
			return err
		}
		there[c.Name] = true
		w.deliver(c)
	}
	w.mu.Lock()
	var missing []string
	for name := range w.live {
		if !there[name] {
			missing = append(missing, name)
		}
	}
	for name, e := range w.entries {
		if !there[name] && !w.live[name] && e.missing(version) {
			missing = append(missing, name)
		}
	}
	w.mu.Unlock()
	for _, name := range missing {
		w.remove(name)
	}
	return nil
}

// Resync is part of cache.ReflectorStore.
func (w *watch) Resync() error { return nil }
