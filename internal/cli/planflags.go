package cli

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sbxrun/sbxrun/pkg/plan"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// planFlags say what of the recipes to run; run and plan share them.
type planFlags struct {
	jobs  int
	set   []string
	cases string
	shard string
}

func (f *planFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.IntVarP(&f.jobs, "jobs", "j", 0, "run `N` samples at a time (default: the recipe's pool.size, else one a core, 10 on Kubernetes)")
	flags.StringArrayVar(&f.set, "set", nil, "set a variable of the recipe, or of those that have it: `K=V` (repeatable)")
	flags.StringVar(&f.cases, "case", "", "run only the cases whose id matches the regular expression `RE`")
	flags.StringVar(&f.shard, "shard", "", "run only part `I/N` of the cases, such as 1/4; gates wait for \"sbxrun report\"")
}

// build makes the plans of the recipes that the arguments name and returns every mistake. Where a recipe cannot be read none
// is planned: what --set says may be for that one.
func (f *planFlags) build(ctx context.Context, args []string, provider *providerFlags) ([]*plan.Plan, error) {
	opts, err := f.options(provider.jobs())
	if err != nil {
		return nil, err
	}
	opts.Origin = provider.origin()
	recipes, bad := load(args)
	if len(bad) > 0 {
		return nil, mistakes(append(bad, sameNames(recipes)...))
	}
	var plans []*plan.Plan
	set := opts.Set
	for _, r := range recipes {
		opts.Set = setOf(r, recipes, set)
		p, err := plan.Build(ctx, r, opts)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		plans = append(plans, p)
	}
	if len(plans) > 0 && onlyEmpty(bad) { // --case chose among the cases of all recipes
		bad = nil
	}
	return plans, mistakes(append(bad, sameNames(recipes)...))
}

// setOf is what of --set is for r: not what only other recipes have. What none has is left, to be an error.
func setOf(r *recipe.Recipe, all []*recipe.Recipe, set map[string]string) map[string]string {
	of := map[string]string{}
	for name, value := range set {
		has := func(r *recipe.Recipe) bool {
			return slices.ContainsFunc(r.Vars, func(v recipe.Var) bool { return v.Name == name })
		}
		if has(r) || !slices.ContainsFunc(all, has) {
			of[name] = value
		}
	}
	return of
}

func onlyEmpty(errs []error) bool {
	for _, err := range errs {
		if !errors.Is(err, plan.ErrNoCases) {
			return false
		}
	}
	return true
}

func (f *planFlags) options(defaultJobs int) (plan.Options, error) {
	opts := plan.Options{Case: f.cases, Jobs: f.jobs, DefaultJobs: defaultJobs, Set: map[string]string{}}
	if f.jobs < 0 {
		return opts, usagef("-j %d: the number of samples at a time is at least 1", f.jobs)
	}
	for _, kv := range f.set {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return opts, usagef("--set %s: write it as name=value", kv)
		}
		opts.Set[k] = v
	}
	if f.shard != "" {
		i, n, ok := strings.Cut(f.shard, "/")
		index, err1 := strconv.Atoi(i)
		count, err2 := strconv.Atoi(n)
		if !ok || err1 != nil || err2 != nil || index < 1 || index > count {
			return opts, usagef("--shard %s: write it as I/N with I from 1 to N, such as 1/4", f.shard)
		}
		opts.ShardIndex, opts.ShardCount = index, count
	}
	return opts, nil
}
