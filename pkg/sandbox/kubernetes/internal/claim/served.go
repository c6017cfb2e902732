package claim

import (
	"context"

	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
)

// Served says which version of Agent Sandbox's claims a cluster serves and a run would use: v1beta1 or v1alpha1.
func Served(ctx context.Context, c *cluster.Cluster) (string, error) {
	api, _, err := discover(ctx, c)
	if err != nil {
		return "", err
	}
	if _, old := api.(*alphaAPI); old {
		return "v1alpha1", nil
	}
	return "v1beta1", nil
}
