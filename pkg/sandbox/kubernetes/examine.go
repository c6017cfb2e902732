package kubernetes

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/claim"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/cluster"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
)

// examineTimeout is for each thing that Examine looks at.
const examineTimeout = 30 * time.Second

// Examine says what the cluster can do for sandboxes, and what the user may do there. It makes nothing that stays.
func Examine(ctx context.Context, opts Options) []sandbox.Finding {
	opts = opts.withDefaults()
	c, err := opts.cluster()
	if err != nil {
		return []sandbox.Finding{{Name: "cluster", State: sandbox.Blocked, Detail: err.Error(), Remedy: "check --kubeconfig, --context and --namespace"}}
	}
	defer c.Close()
	list := []sandbox.Finding{server(ctx, c)}
	if list[0].State == sandbox.Blocked {
		return list
	}
	list = append(list, served(ctx, c))
	list = append(list, permissions(ctx, c, opts)...)
	list = append(list, connection(ctx, c, opts))
	return append(list, enforcement(ctx, c, opts))
}

// server asks the API server for its version.
func server(ctx context.Context, c *cluster.Cluster) sandbox.Finding {
	ctx, cancel := context.WithTimeout(ctx, examineTimeout)
	defer cancel()
	f := sandbox.Finding{Name: "API server", State: sandbox.OK}
	version, err := c.Version(ctx)
	if err != nil {
		f.State, f.Detail, f.Remedy = sandbox.Blocked, err.Error(), "see that the cluster runs and that the kubeconfig is for it"
		return f
	}
	f.Detail = fmt.Sprintf("Kubernetes %s at %s, namespace %s", version, c.Config.Host, c.Namespace)
	return f
}

// served says which version of Agent Sandbox answers.
func served(ctx context.Context, c *cluster.Cluster) sandbox.Finding {
	ctx, cancel := context.WithTimeout(ctx, examineTimeout)
	defer cancel()
	f := sandbox.Finding{Name: "Agent Sandbox", State: sandbox.OK}
	version, err := claim.Served(ctx, c)
	if err != nil {
		f.State, f.Detail, f.Remedy = sandbox.Blocked, err.Error(), "install Agent Sandbox with its extensions in the cluster"
		return f
	}
	f.Detail = "claims of " + version
	return f
}

// connection tries the way to sandboxes up to the router. In a cluster, or with runtime exec, there is none.
func connection(ctx context.Context, c *cluster.Cluster, opts Options) sandbox.Finding {
	ctx, cancel := context.WithTimeout(ctx, max(examineTimeout, opts.GatewayTimeout))
	defer cancel()
	f := sandbox.Finding{Name: "connection", State: sandbox.OK}
	if opts.Connection == ConnectionInCluster {
		f.Detail = "to each sandbox by itself"
		return f
	}
	connector, err := connect.Open(ctx, c, opts.connection())
	if err == nil {
		defer connector.Close()
		f.Detail, err = router(ctx, connector, c.Namespace)
	}
	if err != nil {
		f.State, f.Detail, f.Remedy = sandbox.Weaker, err.Error(), "check the flags of --connection "+string(opts.Connection)+"; only recipes with runtime: exec work without"
	}
	return f
}

// router sends what only the router refuses in its own words: a request without the name of a sandbox.
func router(ctx context.Context, connector connect.Connector, namespace string) (string, error) {
	route, err := connector.Route(ctx, connect.Target{Sandbox: "doctor", Namespace: namespace, Port: 8888})
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, route.URL+"/", nil)
	if err != nil {
		return "", err
	}
	answer, err := route.Client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	if err != nil {
		return "", err
	}
	if !strings.Contains(strings.ToLower(string(body)), "x-sandbox-id") {
		return "", fmt.Errorf("%s answers %d, which is not the sandbox router", route.URL, answer.StatusCode)
	}
	return "the router answers at " + route.URL, nil
}
