package cluster

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Counter counts requests by verb and resource, and learns the server's time from its answers. The zero value is ready.
type Counter struct {
	counts sync.Map     // "create sandboxclaims" -> *atomic.Int64
	ahead  atomic.Int64 // nanoseconds by which the server's clock is ahead of this one
}

// Now is the time by the API server's clock, to about a second. Before the first answer it is this machine's.
// Leases and expiry are about the server's time: the clocks of two machines may be far apart.
func (c *Counter) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// skew is what a Date header of whole seconds and the way of the answer can be off by.
const skew = 2 * time.Second

func (c *Counter) hear(r *http.Response) {
	date, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil {
		return
	}
	ahead := time.Until(date)
	if ahead.Abs() < skew {
		ahead = 0
	}
	c.ahead.Store(int64(ahead))
}

// Snapshot is what was counted until now, keyed like "create sandboxclaims" or "create pods/exec".
func (c *Counter) Snapshot() map[string]int64 {
	all := map[string]int64{}
	c.counts.Range(func(k, v any) bool {
		all[k.(string)] = v.(*atomic.Int64).Load()
		return true
	})
	return all
}

// Total is the sum of Snapshot.
func (c *Counter) Total() int64 {
	var sum int64
	for n := range maps.Values(c.Snapshot()) {
		sum += n
	}
	return sum
}

func (c *Counter) wrap(next http.RoundTripper) http.RoundTripper { return counting{c, next} }

type counting struct {
	counter *Counter
	next    http.RoundTripper
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	key := verbAndResource(r)
	n, ok := c.counter.counts.Load(key)
	if !ok {
		n, _ = c.counter.counts.LoadOrStore(key, new(atomic.Int64))
	}
	n.(*atomic.Int64).Add(1)
	resp, err := c.next.RoundTrip(r)
	if err == nil {
		c.counter.hear(resp)
	}
	return resp, err
}

// WrappedRoundTripper lets client-go find the transport below.
func (c counting) WrappedRoundTripper() http.RoundTripper { return c.next }

// verbAndResource names a request as RBAC does, or as method and path where it is none of a resource.
func verbAndResource(r *http.Request) string {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	// A server below a path (Rancher, a proxy) has more in front.
	switch i := slices.IndexFunc(parts, func(p string) bool { return p == "api" || p == "apis" }); {
	case i < 0:
		return r.Method + " " + r.URL.Path
	case parts[i] == "api":
		parts = parts[i+1:]
	default:
		parts = parts[min(i+2, len(parts)):]
	}
	if len(parts) > 0 {
		parts = parts[1:] // the version
	}
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	if len(parts) == 0 {
		return "discover api"
	}
	resource, named := parts[0], len(parts) > 1
	if len(parts) > 2 {
		resource += "/" + parts[2]
	}
	return verb(r, named) + " " + resource
}

func verb(r *http.Request, named bool) string {
	switch watch := r.URL.Query().Get("watch"); {
	case r.Method == http.MethodGet && (watch == "true" || watch == "1"):
		return "watch"
	case r.Method == http.MethodGet && !named:
		return "list"
	case r.Method == http.MethodDelete && !named:
		return "deletecollection"
	}
	switch r.Method {
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	}
	return strings.ToLower(r.Method)
}
