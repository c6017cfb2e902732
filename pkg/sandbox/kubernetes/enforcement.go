package kubernetes

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// knock connects to port 1 of the address $1, where nothing listens, gives up after silence, and prints what came back: a
// refusal comes from the other pod, so the way to it is open.
const knock = `if command -v python3 >/dev/null; then
	python3 -c 'import socket, sys; socket.create_connection((sys.argv[1], 1), 4)' "$1"
elif command -v bash >/dev/null && command -v timeout >/dev/null; then
	timeout 4 bash -c ': <"/dev/tcp/$0/1"' "$1"
elif command -v nc >/dev/null; then
	nc -v -w 4 "$1" 1 </dev/null
else
	echo no program that connects
fi 2>&1 | tail -n 1`

// silence is less than the wait of knock.
const silence = 3 * time.Second

// enforcement finds out whether the cluster's network enforces policies, which its API does not tell: a sandbox that may
// reach nothing knocks at another. Both are made from the default source, and go again.
func enforcement(ctx context.Context, c *cluster.Cluster, opts Options) sandbox.Finding {
	f := sandbox.Finding{Name: "network policies", State: sandbox.Weaker}
	if opts.Default == (Source{}) {
		f.Detail = "whether they are enforced is not known: that takes two sandboxes"
		f.Remedy = "say where they come from: --warmpool, --template or --image"
		return f
	}
	said, took, err := knocks(ctx, c, opts)
	if err != nil {
		f.Detail, f.Remedy = "whether they are enforced could not be found out: "+err.Error(), "what is in the way is said there"
		return f
	}
	f.State, f.Detail, f.Remedy = heard(said, took)
	return f
}

// heard is what an answer to knock, which took its time to come, says of the cluster's network.
func heard(said string, took time.Duration) (state sandbox.State, detail, remedy string) {
	said = strings.TrimSpace(said)
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(strings.ToLower(said), w) })
	}
	switch {
	case has("no program"):
		return sandbox.Weaker, "whether they are enforced is not known", "use an image with python3, bash or nc"
	case has("refused"):
		return sandbox.Weaker, "are not enforced: a sandbox with network none reached another pod",
			"use a network plugin that enforces NetworkPolicy; until then networks none and case are only a wish"
	case took >= silence, has("timed out", "unreachable", "no route", "prohibited", "not permitted"):
		return sandbox.OK, "are enforced", ""
	}
	return sandbox.Weaker, fmt.Sprintf("whether they are enforced is not known: a sandbox that tried to reach another said %q", said),
		"try an image with python3"
}

func knocks(ctx context.Context, c *cluster.Cluster, opts Options) (said string, took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	spec, err := blueprint(ctx, c, opts.Default)
	if err != nil {
		return "", 0, err
	}
	dir, err := os.MkdirTemp("", "sbxrun-doctor-")
	if err != nil {
		return "", 0, err
	}
	defer os.RemoveAll(dir)
	opts.Run = sandbox.Run{ID: "doctor-" + strings.ToLower(rand.Text()[:10]), Dir: dir, Size: 2}
	p, err := Open(ctx, opts)
	if err != nil {
		return "", 0, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, p.Close(ctx))
	}()
	var boxes [2]sandbox.Sandbox
	both, acquiring := errgroup.WithContext(ctx)
	for i, network := range []sandbox.Network{sandbox.NetworkNone, sandbox.NetworkHost} {
		both.Go(func() (err error) {
			boxes[i], err = p.Acquire(acquiring, sandbox.Spec{Name: "doctor", Network: network, Cluster: spec})
			return err
		})
	}
	if err := both.Wait(); err != nil {
		return "", 0, err
	}
	var out strings.Builder
	host := boxes[1].(sandbox.Addressed).Host()
	result, err := boxes[0].Exec(ctx, sandbox.Command{Argv: []string{"sh", "-c", knock, "knock", host}, Timeout: 20 * time.Second}, &out, nil)
	return out.String(), result.Duration, err
}

// blueprint is what sandboxes of a source are made of, entered by pods/exec so that no policy is in the way.
func blueprint(ctx context.Context, c *cluster.Cluster, from Source) (sandbox.Cluster, error) {
	if from.Image != "" {
		return sandbox.Cluster{Image: from.Image, Runtime: runtimeExec}, nil
	}
	template := from.Template
	if from.WarmPool != "" {
		var pool struct {
			Spec struct {
				Template struct{ Name string } `json:"sandboxTemplateRef"`
			}
		}
		if err := read(ctx, c, "sandboxwarmpools", from.WarmPool, &pool); err != nil {
			return sandbox.Cluster{}, err
		}
		template = pool.Spec.Template.Name
	}
	var t struct{ Spec map[string]json.RawMessage }
	if err := read(ctx, c, "sandboxtemplates", template, &t); err != nil {
		return sandbox.Cluster{}, err
	}
	delete(t.Spec, "networkPolicy")
	delete(t.Spec, "networkPolicyManagement")
	spec, err := json.Marshal(t.Spec)
	return sandbox.Cluster{Spec: spec, Runtime: runtimeExec}, err
}

func read(ctx context.Context, c *cluster.Cluster, resource, name string, into any) error {
	body, err := c.Get(ctx, fmt.Sprintf("/apis/extensions.agents.x-k8s.io/v1beta1/namespaces/%s/%s/%s", c.Namespace, resource, name))
	if apierrors.IsNotFound(err) { // which a raw answer does not put into words
		return fmt.Errorf("there is no %q of %s in namespace %q", name, resource, c.Namespace)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}
