package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/plan"
	"github.com/sbxrun/sbxrun/pkg/recipe"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local"
)

// kubernetesJobs is how many samples are in flight on a cluster where nothing says: waiting is what they do most.
const kubernetesJobs = 10

// collectLimit is how long gc waits at most until what it deletes on a cluster is gone.
const collectLimit = 5 * time.Minute

// providerFlags say where sandboxes come from.
type providerFlags struct {
	where
	allowNoIsolation bool
	ahead            *local.Ahead
}

// addRun adds the flags that only a run has.
func (f *providerFlags) addRun(cmd *cobra.Command) {
	f.add(cmd)
	cmd.Flags().AddFlag(f.flags.Lookup("tracing"))
	cmd.Flags().BoolVar(&f.allowNoIsolation, "allow-no-isolation", false,
		"local: let recipes ask for isolation: none, which runs their code on this machine with all your rights")
}

// settle decides the values of all flags, with the environment and the profile.
func (f *providerFlags) settle() error {
	dir, err := os.Getwd()
	if err != nil {
		return usagef("find the working directory: %v", err)
	}
	if err := f.resolve(os.LookupEnv, dir); err != nil {
		return err
	}
	if f.allowNoIsolation && f.provider != localName {
		return usagef("--allow-no-isolation is for --provider local, and the provider is %s", f.provider)
	}
	return nil
}

// jobs is how many samples are in flight where neither the recipe nor -j says.
func (f *providerFlags) jobs() int {
	if f.provider == kubernetesName {
		return kubernetesJobs
	}
	return runtime.NumCPU()
}

// prepare begins what open would wait for, while the recipes are read; end it with discard. With a flag that is for recipes
// without isolation they may need nothing of it.
func (f *providerFlags) prepare() (discard func()) {
	if f.provider != localName || f.allowNoIsolation {
		return func() {}
	}
	f.ahead = local.StartAhead()
	return f.ahead.Close
}

// open makes the provider of a run, whose sandboxes are held for as long as hold, zero for a moment only.
func (f *providerFlags) open(ctx context.Context, run sandbox.Run, hold time.Duration) (sandbox.Provider, error) {
	if f.provider == kubernetesName {
		opts := f.cluster()
		opts.Run, opts.Hold = run, hold
		p, err := kubernetes.Open(ctx, opts)
		if err != nil {
			return nil, misnamed(err)
		}
		return p, nil
	}
	return local.Open(ctx, local.Options{Run: run, AllowNoIsolation: f.allowNoIsolation, Ahead: f.ahead})
}

// misnamed makes an error about a file or a context that flags name, and that is not there, one of usage.
func misnamed(err error) error {
	if sandbox.KindOf(err) == sandbox.KindInvalid {
		return usagef("%v", err)
	}
	return err
}

// cluster is what the flags say of the cluster and of the way to its sandboxes.
func (f *providerFlags) cluster() kubernetes.Options {
	return kubernetes.Options{
		Kubeconfig: f.kubeconfig, Context: f.context, Namespace: f.namespace, TokenFile: f.tokenFile, CAFile: f.caFile,
		Connection: kubernetes.Connection(f.connection), GatewayName: f.gatewayName, GatewayNamespace: f.gatewayNamespace,
		GatewayTimeout: f.gatewayTimeout, RouterNamespace: f.routerNamespace, APIURL: f.apiURL, PodIP: f.podIP,
		ClusterDomain: f.clusterDomain, AcquireTimeout: f.acquireTimeout, Default: kubernetes.Source{WarmPool: f.warmpool, Template: f.template, Image: f.image},
	}
}

// fit compares what the plans ask for with what there is. The warnings are for people; the error means that a sample would
// not get what it is promised.
func (f *providerFlags) fit(plans []*plan.Plan) (warnings []string, err error) {
	if f.provider == kubernetesName {
		return f.fitCluster(plans)
	}
	return f.fitMachine(plans)
}

// fitCluster finds sandboxes of which nothing says where they come from, and what they say that means nothing there.
func (f *providerFlags) fitCluster(plans []*plan.Plan) (warnings []string, err error) {
	for _, p := range plans {
		for _, sb := range p.Recipe.Sandboxes {
			if sb.Rootfs != nil || len(sb.Mounts) > 0 || sb.Isolation != "" {
				warnings = append(warnings, fmt.Sprintf("%s: local of the sandbox %s is not looked at on Kubernetes", p.Recipe.Name, sb.Name))
			}
			if f.origin() == "" && sb.WarmPool == nil && sb.Template == nil && sb.Image == nil && sb.Spec == nil {
				return nil, usagef("%s: nothing says where the sandbox %s comes from: add --warmpool, --template or --image, or one of these to the recipe's sandboxes",
					p.Recipe.Path, sb.Name)
			}
		}
	}
	return warnings, nil
}

// fitMachine compares limits with the memory of this machine, and looks for the files of it that sandboxes name.
func (f *providerFlags) fitMachine(plans []*plan.Plan) (warnings []string, err error) {
	var machine unix.Sysinfo_t
	if err := unix.Sysinfo(&machine); err != nil {
		return nil, fmt.Errorf("read the size of the memory: %w", err)
	}
	total := int64(machine.Totalram) * int64(machine.Unit)
	var missing []error
	for _, p := range plans {
		warning, absent, err := f.fitPlan(p, total)
		if err != nil {
			return nil, &sandbox.Error{Op: "plan " + p.Recipe.Name, Kind: sandbox.KindUnsupported, Err: err}
		}
		if missing = append(missing, absent...); warning != "" {
			warnings = append(warnings, p.Recipe.Name+": "+warning)
		}
	}
	if len(missing) > 0 {
		return nil, &badRecipes{missing}
	}
	return warnings, nil
}

// fitPlan looks at the sandboxes that a plan uses; total is the memory of this machine, in bytes.
func (f *providerFlags) fitPlan(p *plan.Plan, total int64) (warning string, missing []error, err error) {
	main, verify := p.Recipe.Held()
	specs := map[int]sandbox.Spec{}
	for _, i := range slices.Concat(main, verify) {
		sb := p.Recipe.Sandboxes[i]
		if sb.Isolation == string(sandbox.IsolationNone) && !f.allowNoIsolation {
			return "", nil, fmt.Errorf("sandbox %s has isolation none, which isolates nothing: --allow-no-isolation runs its commands with all your rights", sb.Name)
		}
		if _, done := specs[i]; done {
			continue
		}
		// Limits that depend on the case cannot be known ahead; the kernel holds them to what there is.
		if spec, err := p.SandboxSpec(sb, p.Env(plan.Case{}, 1, "")); err == nil {
			specs[i] = spec
			missing = append(missing, missingLocal(p, sb, spec.Local)...)
		}
	}
	for _, held := range [][]int{main, verify} {
		var sample []sandbox.Limits
		for _, i := range held {
			sample = append(sample, specs[i].Limits)
		}
		said, err := plan.Fit(p.Pool.Size, sample, total)
		if err != nil {
			return "", nil, err
		}
		warning = cmp.Or(warning, said)
	}
	return warning, missing, nil
}

// missingLocal finds what a sandbox wants of this machine and is not there.
func missingLocal(p *plan.Plan, sb recipe.Sandbox, of sandbox.Local) (errs []error) {
	look := func(pos recipe.Pos, key, name string, t *expr.Template) {
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) && !t.Uses("run") && !t.Uses("case") {
			errs = append(errs, &plan.Error{File: p.Recipe.Path, Pos: pos, Message: fmt.Sprintf("sandbox %s: %s: no such file or folder: %s", sb.Name, key, name)})
		}
	}
	if of.Rootfs != "" {
		look(sb.Pos, "local.rootfs", of.Rootfs, sb.Rootfs)
	}
	for i, m := range of.Mounts {
		look(sb.Mounts[i].Pos, "local.mounts.src", m.Source, sb.Mounts[i].Src)
	}
	return errs
}

// describe prints what the provider's machine, or cluster, can do.
func (f *providerFlags) describe(ctx context.Context, w io.Writer) {
	what, examine := "this machine:", local.Examine
	if f.provider == kubernetesName {
		what, examine = "the cluster:", func(ctx context.Context) []sandbox.Finding { return kubernetes.Examine(ctx, f.cluster()) }
	}
	fmt.Fprintln(w, what)
	for _, finding := range examine(ctx) {
		fmt.Fprintf(w, "  %-16s %-8s %s\n", finding.Name, finding.State, finding.Detail)
		if finding.Remedy != "" {
			fmt.Fprintf(w, "  %25s %s\n", "", finding.Remedy)
		}
	}
}

// collectGarbage removes what killed runs left, and names it and what it leaves because it may be a living run's.
func (f *providerFlags) collectGarbage(ctx context.Context) (removed, living []string, err error) {
	if f.provider == kubernetesName {
		ctx, cancel := context.WithTimeoutCause(ctx, collectLimit, fmt.Errorf(
			"gc has waited %v; where something holds an object, kubectl describe says what", collectLimit))
		defer cancel()
		removed, living, err = kubernetes.GC(ctx, f.cluster())
		return removed, living, misnamed(err)
	}
	removed, err = local.GC(ctx)
	return removed, nil, err
}
