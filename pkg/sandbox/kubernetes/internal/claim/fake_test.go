package claim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	selectors "k8s.io/apimachinery/pkg/labels"

	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// object is any Kubernetes object as JSON.
type object = map[string]any

// fake is an API server with just enough of Agent Sandbox's controller behind it: claims become ready, and foreground
// deletion takes a moment. Its faults can be switched on while it runs. It speaks HTTP on loopback.
type fake struct {
	t       *testing.T
	url     string
	version string // of Agent Sandbox's groups

	mu       sync.Mutex
	rv       int
	objects  map[string]object // "resource/name"
	log      []change
	oldest   int // versions before this are forgotten: 410
	watchers map[chan struct{}]bool
	requests map[string]int

	// Faults.
	away      bool                              // connections are cut before anything is done
	lose      int                               // so many creates are done and not answered
	busy      int                               // so many requests are answered 429, Retry-After: 0
	forbidden map[string]bool                   // "verb resource"
	condition func(claim object) (object, bool) // takes the place of Ready=True; false: none yet
	endless   bool                              // deletion of claims never ends
}

type change struct {
	rv       int
	kind     string // ADDED, MODIFIED, DELETED
	resource string
	object   object
	before   object // nil: it is new
}

// seen is the change as who selects sees it: what does not match any more is gone.
func (c change) seen(s selectors.Selector) (kind string, ok bool) {
	now, was := matches(s, c.object), c.before != nil && matches(s, c.before)
	switch {
	case now:
		return c.kind, true
	case was:
		return "DELETED", true
	}
	return "", false
}

// newFake starts one. It serves v1beta1 unless told otherwise before the first request.
func newFake(t *testing.T) *fake {
	f := &fake{t: t, version: "v1beta1", rv: 1, objects: map[string]object{}, watchers: map[chan struct{}]bool{},
		requests: map[string]int{}, forbidden: map[string]bool{}}
	s := httptest.NewServer(f)
	f.url = s.URL
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return f
}

func (f *fake) cluster() *cluster.Cluster {
	f.t.Helper()
	file := filepath.Join(f.t.TempDir(), "config")
	config := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"fake",
		"contexts":[{"name":"fake","context":{"cluster":"fake","user":"fake","namespace":"ns"}}],
		"clusters":[{"name":"fake","cluster":{"server":%q}}],"users":[{"name":"fake","user":{}}]}`, f.url)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		f.t.Fatal(err)
	}
	c, err := cluster.Open(cluster.Options{Kubeconfig: file})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(c.Close)
	return c
}

// set changes faults, or anything else, under the lock.
func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// names lists what there is of a resource.
func (f *fake) names(resource string) (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k := range f.objects {
		if r, n, _ := strings.Cut(k, "/"); r == resource {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names
}

// get returns a copy.
func (f *fake) get(resource, name string) object {
	f.mu.Lock()
	defer f.mu.Unlock()
	return clone(f.objects[resource+"/"+name])
}

// cut ends all watches, and forgets the past if asked to.
func (f *fake) cut(forget bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if forget {
		f.rv++
		f.oldest = f.rv
	}
	for w := range f.watchers {
		close(w)
		delete(f.watchers, w)
	}
}

func (f *fake) count(verb string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests[verb]
}

func clone(o object) object {
	if o == nil {
		return nil
	}
	data, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	var c object
	if err := json.Unmarshal(data, &c); err != nil {
		panic(err)
	}
	return c
}

func metaOf(o object) object {
	m, ok := o["metadata"].(object)
	if !ok {
		m = object{}
		o["metadata"] = m
	}
	return m
}

// put stores an object and tells watchers. f.mu is held.
func (f *fake) put(kind, resource string, o object) {
	f.rv++
	metaOf(o)["resourceVersion"] = strconv.Itoa(f.rv)
	key := resource + "/" + metaOf(o)["name"].(string)
	before := clone(f.objects[key])
	if kind == "DELETED" {
		delete(f.objects, key)
	} else {
		f.objects[key] = o
	}
	f.log = append(f.log, change{f.rv, kind, resource, clone(o), before})
	for w := range f.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// edit changes one stored object, as a controller or another program would.
func (f *fake) edit(resource, name string, change func(o object)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := clone(f.objects[resource+"/"+name])
	if o == nil {
		f.t.Errorf("no %s %s to edit", resource, name)
		return
	}
	change(o)
	f.put("MODIFIED", resource, o)
}

// drop removes one object, as another program would.
func (f *fake) drop(resource, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o := f.objects[resource+"/"+name]; o != nil {
		f.put("DELETED", resource, clone(o))
	}
}

type request struct {
	verb, resource, name string
	selector             selectors.Selector
	resourceVersion      string
	initial              bool
}

func parse(r *http.Request) request {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	skip := 3
	if parts[0] == "api" {
		skip = 2
	}
	parts = parts[min(skip, len(parts)):]
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	q := r.URL.Query()
	p := request{verb: strings.ToLower(r.Method), resourceVersion: q.Get("resourceVersion"), initial: q.Get("sendInitialEvents") == "true"}
	p.selector, _ = selectors.Parse(q.Get("labelSelector"))
	if len(parts) > 0 {
		p.resource = parts[0]
	}
	if len(parts) > 1 {
		p.name = parts[1]
	}
	switch {
	case r.Method == http.MethodPost:
		p.verb = "create"
	case r.Method == http.MethodPut:
		p.verb = "update"
	case q.Get("watch") != "":
		p.verb = "watch"
	case r.Method == http.MethodGet && p.name == "" && p.resource != "":
		p.verb = "list"
	case r.Method == http.MethodDelete && p.name == "":
		p.verb = "deletecollection"
	}
	return p
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := parse(r)
	f.mu.Lock()
	f.requests[p.verb+" "+p.resource]++
	f.requests["all"]++
	away, tooBusy := f.away, f.busy > 0
	if tooBusy {
		f.busy--
	}
	refused := f.forbidden[p.verb+" "+p.resource]
	f.mu.Unlock()
	switch {
	case away:
		panic(http.ErrAbortHandler)
	case tooBusy:
		w.Header().Set("Retry-After", "0")
		status(w, 429, "TooManyRequests", "too many requests", nil)
	case refused:
		status(w, 403, "Forbidden", fmt.Sprintf(`%s.g is forbidden: User "me" cannot %s resource %q in API group "g" in the namespace "ns"`, p.resource, p.verb, p.resource), nil)
	case strings.HasPrefix(r.URL.Path, "/apis/") && p.resource == "":
		group := strings.TrimPrefix(r.URL.Path, "/apis/")
		if f.version == "" {
			status(w, 404, "NotFound", "the server could not find the requested resource", nil)
			return
		}
		answer(w, 200, object{"kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": []object{{"groupVersion": group + "/" + f.version, "version": f.version}}})
	case p.verb == "watch":
		f.serveWatch(w, r, p)
	default:
		f.serve(w, r, p)
	}
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request, p request) {
	var body object
	if r.Body != nil {
		_ = json.NewDecoder(r.Body).Decode(&body)
	}
	f.mu.Lock()
	code, reply, lost := f.do(p, r, body)
	f.mu.Unlock()
	if lost {
		panic(http.ErrAbortHandler)
	}
	if code >= 400 {
		status(w, code, reply["reason"].(string), reply["message"].(string), object{"kind": p.resource, "name": p.name})
		return
	}
	answer(w, code, reply)
}

func failure(reason string) object { return object{"reason": reason, "message": reason} }

// do carries out one request that is no watch. f.mu is held.
func (f *fake) do(p request, r *http.Request, body object) (code int, reply object, lost bool) {
	key := p.resource + "/" + p.name
	there := f.objects[key]
	switch p.verb {
	case "create":
		m := metaOf(body)
		key = p.resource + "/" + m["name"].(string)
		if f.objects[key] != nil {
			return 409, failure("AlreadyExists"), false
		}
		m["uid"] = fmt.Sprintf("uid-%d", f.rv)
		m["creationTimestamp"] = time.Now().UTC().Format(time.RFC3339)
		if p.resource == "sandboxtemplates" {
			m["labels"].(object)["agents.x-k8s.io/sandbox-template-ref-hash"] = "seen"
		}
		f.put("ADDED", p.resource, body)
		if p.resource == "sandboxclaims" {
			go f.control(m["name"].(string))
		}
		if f.lose > 0 {
			f.lose--
			return 0, nil, true
		}
		return 201, clone(body), false
	case "list":
		items := []object{}
		for k, o := range f.objects {
			if strings.HasPrefix(k, p.resource+"/") && matches(p.selector, o) {
				items = append(items, clone(o))
			}
		}
		kind, api := kindOf(p.resource, r)
		return 200, object{"kind": kind + "List", "apiVersion": api, "metadata": object{"resourceVersion": strconv.Itoa(f.rv)}, "items": items}, false
	case "deletecollection":
		for k, o := range f.objects {
			if strings.HasPrefix(k, p.resource+"/") && matches(p.selector, o) {
				f.remove(p.resource, clone(o), "Foreground")
			}
		}
		return 200, object{"kind": "Status", "apiVersion": "v1", "status": "Success"}, false
	}
	if there == nil {
		return 404, failure("NotFound"), false
	}
	switch p.verb {
	case "update":
		if rv := metaOf(body)["resourceVersion"]; rv != nil && rv != metaOf(there)["resourceVersion"] {
			return 409, failure("Conflict"), false
		}
		f.put("MODIFIED", p.resource, body)
		return 200, clone(body), false
	case "patch":
		merged := clone(there)
		merge(merged, body)
		f.put("MODIFIED", p.resource, merged)
		return 200, clone(merged), false
	case "delete":
		if pre, ok := body["preconditions"].(object); ok && pre["uid"] != nil && pre["uid"] != metaOf(there)["uid"] {
			return 409, failure("Conflict"), false
		}
		policy, _ := body["propagationPolicy"].(string)
		f.remove(p.resource, clone(there), policy)
		return 200, clone(there), false
	}
	return 200, clone(there), false
}

// remove deletes at once, or in foreground: the object stays until what it owns has ended. f.mu is held.
func (f *fake) remove(resource string, o object, policy string) {
	if resource != "sandboxclaims" || policy != "Foreground" {
		f.put("DELETED", resource, o)
		return
	}
	if metaOf(o)["deletionTimestamp"] != nil {
		return
	}
	metaOf(o)["deletionTimestamp"] = time.Now().UTC().Format(time.RFC3339)
	metaOf(o)["finalizers"] = []any{"foregroundDeletion"}
	f.put("MODIFIED", resource, o)
	if f.endless {
		return
	}
	name := metaOf(o)["name"].(string)
	time.AfterFunc(5*time.Millisecond, func() { f.drop(resource, name) })
}

// control is the claim controller's part.
func (f *fake) control(name string) {
	time.Sleep(2 * time.Millisecond)
	f.mu.Lock()
	defer f.mu.Unlock()
	o := clone(f.objects["sandboxclaims/"+name])
	if o == nil || metaOf(o)["deletionTimestamp"] != nil {
		return
	}
	ready := object{"type": "Ready", "status": "True", "reason": "DependenciesReady", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
	if f.condition != nil {
		var ok bool
		if ready, ok = f.condition(o); !ok {
			return
		}
	}
	o["status"] = object{"conditions": []any{ready}, "sandbox": object{"name": "box-" + name, "podIPs": []any{"10.0.0.1"}}}
	f.put("MODIFIED", "sandboxclaims", o)
}

func (f *fake) serveWatch(w http.ResponseWriter, r *http.Request, p request) {
	if p.initial { // an API server that does not know streaming lists
		status(w, 422, "Invalid", "sendInitialEvents is not supported", nil)
		return
	}
	from, _ := strconv.Atoi(p.resourceVersion)
	wake := make(chan struct{}, 1)
	f.mu.Lock()
	if from < f.oldest {
		f.mu.Unlock()
		status(w, 410, "Expired", "too old resource version", nil)
		return
	}
	f.watchers[wake] = true
	f.mu.Unlock()
	defer f.set(func() { delete(f.watchers, wake) })
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	flush := w.(http.Flusher).Flush
	flush()
	for {
		f.mu.Lock()
		var news []change
		for _, c := range f.log {
			if kind, ok := c.seen(p.selector); ok && c.rv > from && c.resource == p.resource {
				c.kind, c.object = kind, clone(c.object)
				news = append(news, c)
			}
		}
		from = f.rv
		f.mu.Unlock()
		for _, c := range news {
			kind, api := kindOf(c.resource, r)
			c.object["kind"], c.object["apiVersion"] = kind, api
			if json.NewEncoder(w).Encode(object{"type": c.kind, "object": c.object}) != nil {
				return
			}
		}
		flush()
		select {
		case _, ok := <-wake:
			if !ok {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

func matches(s selectors.Selector, o object) bool {
	set := selectors.Set{}
	m, _ := o["metadata"].(object)
	have, _ := m["labels"].(object)
	for k, v := range have {
		set[k], _ = v.(string)
	}
	return s == nil || s.Matches(set)
}

func merge(into, patch object) {
	for k, v := range patch {
		if v == nil {
			delete(into, k)
		} else if sub, ok := v.(object); ok {
			if _, ok := into[k].(object); !ok {
				into[k] = object{}
			}
			merge(into[k].(object), sub)
		} else {
			into[k] = v
		}
	}
}

var kinds = map[string]string{"sandboxclaims": "SandboxClaim", "sandboxtemplates": "SandboxTemplate", "sandboxwarmpools": "SandboxWarmPool",
	"leases": "Lease", "networkpolicies": "NetworkPolicy", "pods": "Pod", "events": "Event", "sandboxes": "Sandbox"}

func kindOf(resource string, r *http.Request) (kind, apiVersion string) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	apiVersion = parts[1]
	if parts[0] == "apis" {
		apiVersion += "/" + parts[2]
	}
	return kinds[resource], apiVersion
}

func answer(w http.ResponseWriter, code int, o object) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(o)
}

func status(w http.ResponseWriter, code int, reason, message string, details object) {
	answer(w, code, object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message, "details": details})
}
