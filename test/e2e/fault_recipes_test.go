//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
)

// once is a recipe whose one step works for some seconds. It tells the collector that it began and that it ended, so that
// a second execution would be seen even where the sandbox is gone.
func (c *collector) once(t *testing.T, name string, seconds int, more string) string {
	t.Helper()
	return recipe(t, fmt.Sprintf(`
version: 1
name: %[1]s
%[4]s
steps:
- name: work
  run: |
    tell() { python3 -c 'import sys, urllib.request; urllib.request.urlopen("http://%[2]s:8000/?" + sys.argv[1], timeout=20)' "$1"; }
    tell begin-%[1]s
    echo x >> count
    echo has-begun
    sleep %[3]d
    tell end-%[1]s
    echo executions $(wc -l < count)
  expect: {stdout: {contains: executions 1}}
`, name, c.ip, seconds, more))
}

// collector is a pod that writes down who called it.
type collector struct {
	w  *world
	ip string
}

func (w *world) collector() *collector {
	w.t.Helper()
	w.apply(fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: collector}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: collector
    image: %s
    command: [python3, -u, -m, http.server, "8000", --directory, /media]
    readinessProbe: {tcpSocket: {port: 8000}, periodSeconds: 1}
`, set.plain))
	c := &collector{w: w}
	w.eventually("the collector is ready", func() error {
		pod, err := api.Resource(pods).Namespace(w.name).Get(w.t.Context(), "collector", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !isTrue(pod, "Ready") {
			return fmt.Errorf("not ready: %v", pod.Object["status"])
		}
		c.ip, _, err = unstructured.NestedString(pod.Object, "status", "podIP")
		return err
	})
	return c
}

// isTrue says whether a condition of an object holds.
func isTrue(object *unstructured.Unstructured, kind string) bool {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == kind {
			return m["status"] == "True"
		}
	}
	return false
}

var called = regexp.MustCompile(`"GET /\?([a-z0-9-]+)`)

// calls counts who called, by what they said.
func (c *collector) calls() map[string]int {
	c.w.t.Helper()
	log, err := get("/api/v1/namespaces/" + c.w.name + "/pods/collector/log")
	if err != nil {
		c.w.t.Fatal(err)
	}
	counts := map[string]int{}
	for _, m := range called.FindAllStringSubmatch(log, -1) {
		counts[m[1]]++
	}
	return counts
}

// executed checks how often a recipe of once began and ended.
func (c *collector) executed(name string, begins, ends int) {
	c.w.t.Helper()
	calls := c.calls()
	if calls["begin-"+name] != begins || calls["end-"+name] != ends {
		c.w.t.Errorf("%s began %d times and ended %d times, want %d and %d", name, calls["begin-"+name], calls["end-"+name], begins, ends)
	}
}

// get asks the API server for a path.
func get(path string) (string, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return "", err
	}
	answer, err := client.Get(strings.TrimSuffix(config.Host, "/") + path)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, answer.Status, body)
	}
	return string(body), err
}
