package kubernetes

import (
	"context"
	"fmt"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/claim"
)

// Info is what List tells of one sandbox.
type Info = claim.Info

// Attach opens a sandbox by the name of its claim, whoever made it, with what spec says of its runtime and port. Releasing
// it deletes it, as with those of the run; closing the provider without that leaves it there.
func (p *Provider) Attach(ctx context.Context, name string, spec sandbox.Spec) (sandbox.Sandbox, error) {
	c, err := p.claims.Attach(ctx, name)
	if err != nil {
		return nil, err
	}
	return p.open(ctx, c, spec)
}

// List names the claims of the namespace that match a label selector of Kubernetes ("team=a,!old"); the empty one matches all.
func (p *Provider) List(ctx context.Context, selector string) ([]Info, error) {
	return p.claims.List(ctx, selector)
}

// Delete deletes a sandbox by the name of its claim and returns when it is gone.
func (p *Provider) Delete(ctx context.Context, name string) error { return p.claims.Delete(ctx, name) }

// DeleteAll deletes what List names for the selector and returns when it is gone; the empty selector means every
// sandbox that sbxrun made in the namespace, those of other runs too.
func (p *Provider) DeleteAll(ctx context.Context, selector string) ([]string, error) {
	return p.claims.DeleteAll(ctx, selector)
}

// GC removes what killed runs left on the cluster, and names it. What belongs to a run that still lives stays, and so does
// for about a minute what one left that was just killed: living says whose that is, one line each.
func GC(ctx context.Context, opts Options) (removed, living []string, err error) {
	c, err := opts.cluster()
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	if removed, err = claim.GC(ctx, c); err != nil {
		return removed, nil, err
	}
	runs, err := claim.Runs(ctx, c)
	for _, r := range runs {
		now := c.Now()
		living = append(living, fmt.Sprintf("run %s of %s, renewed %v ago; if it is dead, gc takes it in %v",
			r.ID, r.Holder, now.Sub(r.Renewed).Round(time.Second), max(0, r.Lapses.Sub(now)).Round(time.Second)))
	}
	return removed, living, err
}
