//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// twoHundred is a recipe whose cases need a sandbox each.
const twoHundred = `
version: 1
name: two-hundred
sandboxes: {box: {warmpool: plain, runtime: exec}}
cases: {file: cases.jsonl}
steps:
- run: |
    test ! -e mark
    touch mark
    echo ${{ raw(case.n) }}
  expect: {stdout: "${{ case.n }}"}
`

func (w *world) twoHundred() string {
	w.t.Helper()
	path := recipe(w.t, twoHundred)
	var cases strings.Builder
	for n := range 200 {
		fmt.Fprintf(&cases, "{\"id\": \"c%d\", \"n\": %d}\n", n, n)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "cases.jsonl"), []byte(cases.String()), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// 200 sandboxes are claimed, used and released in one run, by an account of its own, whose requests are counted: three a
// sandbox at most, without those that set the run up.
func TestOwnTwoHundred(t *testing.T) {
	cluster := mine(t)
	w := newWorld(t, "plain", 8)
	account := w.account("budget", slices.Concat(needed, rare, podExec))
	s := w.startAs(account, w.twoHundred(), "-j", "8").ends(0).verdict("passed", "")
	if n := len(s.rows()); n != 200 {
		t.Errorf("%d results", n)
	}
	w.clean()
	counts := cluster.requests(t, "system:serviceaccount:"+w.name+":budget")
	t.Logf("requests: %v", counts)
	const once = 20 // what a run asks for apart from its sandboxes: versions, the watch, the Lease and its renewals
	total := 0
	for what, n := range counts {
		if !strings.HasSuffix(what, "pods/exec") && !strings.Contains(what, "leases") {
			total += n
		}
	}
	if total > 3*200+once {
		t.Errorf("%d requests for 200 sandboxes, the budget is 3 each", total)
	}
	if counts["create sandboxclaims"] != 200 || counts["delete sandboxclaims"] != 200 {
		t.Errorf("%d claims were made and %d deleted, want 200 each: a request was repeated", counts["create sandboxclaims"], counts["delete sandboxclaims"])
	}
}

// SIGKILL in the middle of that: gc takes what is left once the run's Lease has lapsed, and nothing of a run that lives.
func TestKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "plain", 6)
	alive := w.start(recipe(t, "version: 1\nname: alive\nsteps: [{run: echo has-begun; sleep 600}]\n"), "--warmpool", "plain")
	alive.awaits("has-begun")
	keep := w.list(leases)[0].GetName()
	s := w.start(w.twoHundred(), "-j", "6")
	if err := within(5*patience, func() error { // a pod is started for each
		data, err := os.ReadFile(filepath.Join(s.dir, "results.jsonl"))
		if n := strings.Count(string(data), "\n"); err == nil && n < 100 {
			err = fmt.Errorf("%d of 100 results", n)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.done
	left := w.left()
	w.start("gc").ends(0)
	if now := w.left(); len(now) < len(left) {
		t.Errorf("gc took what belongs to leases that have not lapsed: of %v there is %v", left, now)
	}
	for _, lease := range w.list(leases) {
		if lease.GetName() != keep {
			w.age(lease.GetName())
		}
	}
	w.start("gc").ends(0).says("sandboxclaim/", "lease/")
	var claimed int
	for _, name := range w.left() {
		if strings.HasPrefix(name, "sandboxclaims/") {
			claimed++
		}
		if strings.HasPrefix(name, "leases/") && name != "leases/"+keep {
			t.Errorf("%s is left", name)
		}
	}
	if claimed != 1 {
		t.Errorf("%d claims are there after gc, want that of the run that lives", claimed)
	}
	if err := alive.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	alive.ends(130)
	w.clean()
}

// age makes a Lease look as if it had not been renewed for long.
func (w *world) age(lease string) {
	w.t.Helper()
	patch := fmt.Appendf(nil, `{"spec": {"renewTime": %q}}`, time.Now().Add(-time.Hour).UTC().Format("2006-01-02T15:04:05.000000Z"))
	if _, err := api.Resource(leases).Namespace(w.name).Patch(w.t.Context(), lease, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// requests counts what a user asked of the API server, by verb and resource, from its audit log.
func (c *ownCluster) requests(t *testing.T, user string) map[string]int {
	t.Helper()
	f, err := os.Open(filepath.Join(c.state, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	counts := map[string]int{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			Verb       string
			RequestURI string
			User       struct{ Username string }
			ObjectRef  struct{ Resource, Subresource string }
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if e.User.Username != user {
			continue
		}
		what := e.Verb + " " + strings.TrimSuffix(e.ObjectRef.Resource+"/"+e.ObjectRef.Subresource, "/")
		if e.ObjectRef.Resource == "" {
			what = e.Verb + " " + e.RequestURI
		}
		counts[what]++
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return counts
}
