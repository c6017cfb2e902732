package cluster

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"k8s.io/client-go/tools/clientcmd"
)

// explain says why there is no configuration, and what there is instead.
func explain(rules *clientcmd.ClientConfigLoadingRules, o Options, err error) error {
	files := strings.Join(rules.GetLoadingPrecedence(), ", ")
	if o.Kubeconfig != "" {
		if missing := readable(o.Kubeconfig); missing != nil {
			return fmt.Errorf("kubeconfig: %w", missing)
		}
	}
	config, loadErr := rules.Load()
	if loadErr != nil {
		return fmt.Errorf("kubeconfig %s: %w", files, loadErr)
	}
	name := o.Context
	if name == "" {
		name = config.CurrentContext
	}
	var names []string
	for n := range config.Contexts {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b string) int {
		return levenshtein.Distance(name, a, nil)*1000 + strings.Compare(a, b) - levenshtein.Distance(name, b, nil)*1000
	})
	switch {
	case len(names) == 0:
		return fmt.Errorf("no cluster is configured: %s has no context, and this is not a pod; set --kubeconfig or KUBECONFIG", files)
	case !slices.Contains(names, name) && name != "":
		return fmt.Errorf("kubeconfig %s has no context %q; it has %s", files, name, quoted(names))
	case errors.Is(err, clientcmd.ErrEmptyConfig):
		return fmt.Errorf("kubeconfig %s has no current context; name one with --context: %s", files, quoted(names))
	}
	return fmt.Errorf("kubeconfig %s: %w", files, err)
}

// quoted names at most ten.
func quoted(names []string) string {
	rest := ""
	if len(names) > 10 {
		names, rest = names[:10], fmt.Sprintf(" and %d more", len(names)-10)
	}
	var b strings.Builder
	for i, n := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", n)
	}
	return b.String() + rest
}

func readable(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	return f.Close()
}
