package claim

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"go.opentelemetry.io/otel/propagation"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	core "sigs.k8s.io/agent-sandbox/api/v1beta1"
	v1beta1 "sigs.k8s.io/agent-sandbox/extensions/api/v1beta1"
	kjson "sigs.k8s.io/json"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// Annotations that Agent Sandbox's controller reads.
const (
	annotationTrace     = "opentelemetry.io/trace-context"            // W3C trace context headers as a JSON object
	annotationRequested = "agents.x-k8s.io/client-first-requested-at" // for its metric of the time to ready
)

// Acquire claims a sandbox and returns when it is ready. Reasons that will not go away end the wait at once; when the
// limit ends it, the error says what the cluster knows of the pod. However it ends without a sandbox, the claim is
// deleted.
func (c *Claims) Acquire(ctx context.Context, r Request) (*Claim, error) {
	leave, err := c.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	if c.o.AcquireLimit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.o.AcquireLimit,
			fmt.Errorf("no sandbox within %v: %w", c.o.AcquireLimit, context.DeadlineExceeded))
		defer cancel()
	}
	// Close ends what waits.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.open, func() { cancel(errClosed) })()

	if err := c.begin(ctx); err != nil {
		return nil, err
	}
	p, err := c.poolOf(ctx, r.Spec)
	if err != nil {
		return nil, err
	}
	group, err := c.join(ctx, r.Spec)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s%s-%d", prefix, c.o.Run.ID, c.seq.Add(1))
	want, err := c.describe(ctx, name, r, group)
	if err != nil {
		return nil, errors.Join(err, c.part(context.WithoutCancel(ctx), group))
	}
	e := c.watch.enter(name)
	got, err := c.ready(ctx, e, want, p)
	if err == nil {
		held := c.hold(e, got, p, r.Ports)
		held.group = group
		return held, nil
	}
	if cleanup := c.discard(context.WithoutCancel(ctx), e, group); cleanup != nil {
		err = errors.Join(err, cleanup)
	}
	return nil, err
}

// The controller looks at a claim whose pool or template it has not seen yet again in a minute, or when the claim
// changes.
const (
	nudgesMost = 5
	nudgeAfter = 500 * time.Millisecond // doubled each time
)

// ready makes the claim and waits for it.
func (c *Claims) ready(ctx context.Context, e *entry, want *v1beta1.SandboxClaim, p *pool) (*v1beta1.SandboxClaim, error) {
	made, err := c.api.create(ctx, want, p)
	if err != nil {
		switch {
		case apierrors.IsAlreadyExists(err): // somebody else's: not to be deleted
			e.disown()
		case errors.Is(ctx.Err(), context.Canceled):
			err = context.Cause(ctx)
		}
		return nil, cluster.Classify("acquire", e.name, err)
	}
	e.made(made)
	nudge := time.NewTimer(time.Hour)
	defer nudge.Stop()
	patience := cmp.Or(c.o.Peek, peekAfter)
	peek := time.NewTimer(patience)
	defer peek.Stop()
	waiting := false
	nudges := 0
	for {
		now, deleted, news := e.look()
		if deleted || now.DeletionTimestamp != nil {
			return nil, &sandbox.Error{Op: "acquire", ID: e.name, Kind: sandbox.KindUnavailable,
				Err: errors.New(deletedBy(now) + " before it was ready")}
		}
		if isReady(now) {
			return now, nil
		}
		if err := c.terminal(ctx, e.name, now, p); err != nil {
			return nil, err
		}
		if missing(now) && nudges < nudgesMost && !waiting { // of objects that this run just made
			waiting = true
			nudge.Reset(nudgeAfter << nudges)
		}
		watchNews, refused := c.watch.err()
		if refused != nil {
			return nil, refused
		}
		select {
		case <-news:
		case <-watchNews:
		case <-nudge.C:
			nudges, waiting = nudges+1, false
			data := fmt.Appendf(nil, `{"metadata":{"annotations":{"%snudge":"%d"}}}`, domain, nudges)
			_ = c.api.patch(ctx, e.name, data) // without it the controller looks again in a minute
		case <-peek.C:
			if err := c.stuck(ctx, e.name, now, p); err != nil {
				return nil, err
			}
			patience *= 2
			peek.Reset(patience)
		case <-ctx.Done():
			return nil, c.late(ctx, e.name, now, p)
		}
	}
}

// hold makes a Claim of one that is ready.
func (c *Claims) hold(e *entry, now *v1beta1.SandboxClaim, p *pool, ports []int) *Claim {
	held := &Claim{
		Name: now.Name, Namespace: now.Namespace, Sandbox: now.Status.SandboxStatus.Name,
		Pod: now.Status.SandboxStatus.Name, PodIPs: now.Status.SandboxStatus.PodIPs,
		Pool: p.name, Container: p.container, ExecOnly: p.execOnly,
		claims: c, entry: e, pool: p, since: c.o.Cluster.Now(), ports: ports,
	}
	e.hold(held, held.doubt)
	return held
}

func isReady(c *v1beta1.SandboxClaim) bool {
	r := readiness(c)
	return r != nil && r.Status == metav1.ConditionTrue && c.Status.SandboxStatus.Name != ""
}

// describe is the claim that is asked for.
func (c *Claims) describe(ctx context.Context, name string, r Request, group string) (*v1beta1.SandboxClaim, error) {
	want := &v1beta1.SandboxClaim{ObjectMeta: c.owned(name)}
	for k, v := range r.Spec.Cluster.Labels {
		if _, ours := want.Labels[k]; !ours {
			want.Labels[k] = v
		}
	}
	now := c.o.Cluster.Now()
	maps.Copy(want.Annotations, annotations(r.Spec.Labels))
	want.Annotations[annotationRequested] = now.UTC().Format(time.RFC3339Nano)
	if c.o.Trace {
		carrier := propagation.MapCarrier{}
		propagation.TraceContext{}.Inject(ctx, carrier)
		if data, err := json.Marshal(carrier); err == nil && len(carrier) > 0 {
			want.Annotations[annotationTrace] = string(data)
		}
	}
	want.Spec.AdditionalPodMetadata = core.PodMetadata{
		Labels: maps.Clone(r.Spec.Cluster.PodLabels), Annotations: r.Spec.Cluster.PodAnnotations,
	}
	if group != "" {
		if want.Spec.AdditionalPodMetadata.Labels == nil {
			want.Spec.AdditionalPodMetadata.Labels = map[string]string{}
		}
		want.Spec.AdditionalPodMetadata.Labels[labelGroup] = group
	}
	if len(r.Spec.Cluster.Volumes) > 0 {
		if err := strict("volumes", r.Spec.Cluster.Volumes, &want.Spec.VolumeClaimTemplates); err != nil {
			return nil, &sandbox.Error{Op: "acquire", ID: name, Kind: sandbox.KindInvalid, Err: err}
		}
	}
	if r.Lifetime > 0 {
		end := metav1.NewTime(now.Add(r.Lifetime))
		want.Spec.Lifecycle = &v1beta1.Lifecycle{ShutdownTime: &end, ShutdownPolicy: v1beta1.ShutdownPolicyDeleteForeground}
	}
	return want, nil
}

// strict decodes JSON as the API server would, and names every field that there is not.
func strict(what string, data []byte, into any) error {
	unknown, err := kjson.UnmarshalStrict(data, into)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if len(unknown) > 0 {
		return fmt.Errorf("%s: %w", what, errors.Join(unknown...))
	}
	return nil
}
