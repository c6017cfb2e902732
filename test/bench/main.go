// Command bench measures the Kubernetes provider on the cluster of the kubeconfig, beside Agent Sandbox's own Go client, in
// turns and in one run: a warm sandbox from claim to first output, a command in a standing sandbox, 40 tasks with four
// workers with and without reuse, and what the API server was asked for each sandbox, by its audit log. It is a module
// of its own, so that the other client is no dependency of sbxrun.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/sbxrun/sbxrun/internal/bench/table"
)

// options are the command line.
type options struct {
	pool, namespace string
	warm            int
	rounds, tasks   int
	workers         int
	apiURL          string
	audit           string
}

func main() {
	var o options
	flag.StringVar(&o.pool, "pool", "", "the warm `POOL` that both sides claim from; its runtime is the Python one")
	flag.StringVar(&o.namespace, "namespace", "default", "where the pool is")
	flag.IntVar(&o.rounds, "rounds", 15, "measurements of each side")
	flag.IntVar(&o.tasks, "tasks", 40, "tasks in the rows of many")
	flag.IntVar(&o.workers, "workers", 4, "workers in the rows of many")
	flag.StringVar(&o.apiURL, "api-url", "", "the router's `URL` for both sides; empty: the address of service sandbox-router-svc in agent-sandbox-system, which nodes of the cluster reach")
	flag.StringVar(&o.audit, "audit", "", "the API server's audit log, a `FILE` of JSON lines at level Metadata; without it requests are not counted")
	strict := flag.Bool("strict", false, "exit with status 1 if a budget is missed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	missed, err := run(ctx, o)
	stop()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	case missed > 0 && *strict:
		os.Exit(1)
	}
}

// benchmarks are the rows, in their order.
var benchmarks = []func(context.Context, *sides) ([]table.Row, error){firstOutput, standing, tasks, requests}

// run prints a table and returns how many budgets were missed; an error is one that could not be measured.
func run(ctx context.Context, o options) (missed int, err error) {
	if o.pool == "" {
		return 0, errors.New("-pool: name a warm pool")
	}
	s, err := openSides(ctx, o)
	if err != nil {
		return 0, err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
		defer cancel()
		err = errors.Join(err, s.close(closing))
	}()
	start := time.Now()
	table.Head(os.Stdout)
	for _, measure := range benchmarks {
		rows, failed := measure(ctx, s)
		if failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		for _, r := range rows {
			r.Print(os.Stdout)
			if r.Over {
				missed++
			}
		}
	}
	fmt.Printf("\nother: sigs.k8s.io/agent-sandbox/clients/go/sandbox, both by %s; medians, in turns; %.0f s in all\n", s.apiURL, time.Since(start).Seconds())
	return missed, err
}
