package cli

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"mvdan.cc/sh/v3/syntax"
)

// Values of --provider and --connection.
const (
	localName      = "local"
	kubernetesName = "kubernetes"

	tunnel    = "tunnel"
	gateway   = "gateway"
	inCluster = "in-cluster"
	direct    = "direct"
)

// where says where sandboxes come from. Each value is decided by its flag, else by SBXRUN_*, else by the profile.
type where struct {
	profile  string
	provider string

	kubeconfig, context, namespace string
	warmpool, template, image      string // for sandboxes of the recipe that name none
	acquireTimeout                 time.Duration

	connection                    string
	gatewayName, gatewayNamespace string
	gatewayTimeout                time.Duration
	apiURL                        string
	clusterDomain                 string
	podIP                         bool
	routerNamespace               string
	caFile, tokenFile             string

	tracing bool // of run alone, but any command reads the profile

	flags *pflag.FlagSet
	from  map[string]source // of what was said, by the flag's name
}

// source is where a value was said. What ranks higher wins.
type source struct {
	rank rank
	name string // as messages call it
}

type rank int

const (
	byDefault rank = iota
	byProfile
	byEnvironment
	byFlag
)

// only are the values that mean nothing but to one provider, or to one connection of it.
var only = map[string]string{
	"gateway-name": gateway, "gateway-namespace": gateway, "gateway-timeout": gateway,
	"api-url": direct, "cluster-domain": inCluster, "pod-ip": inCluster,
}

// sources are the flags of which one says where sandboxes come from that name nothing themselves.
var sources = []string{"warmpool", "template", "image"}

func (w *where) add(cmd *cobra.Command) {
	w.flags = pflag.NewFlagSet("where", pflag.ContinueOnError)
	f := w.flags
	f.StringVar(&w.profile, "profile", "", "take what follows from the profile `NAME` of .sbxrun.yaml")
	f.StringVar(&w.provider, "provider", localName, "where sandboxes come from: `NAME` is local or kubernetes")
	f.StringVar(&w.connection, "connection", tunnel, "kubernetes: the `WAY` to sandboxes: tunnel, gateway, in-cluster or direct")
	f.StringVar(&w.warmpool, "warmpool", "", "kubernetes: the SandboxWarmPool `NAME`, for sandboxes that name none")
	f.StringVar(&w.template, "template", "", "kubernetes: the SandboxTemplate `NAME`, for sandboxes that name none")
	f.StringVar(&w.image, "image", "", "kubernetes: the container `IMAGE`, for sandboxes that name none")
	f.StringVar(&w.kubeconfig, "kubeconfig", "", "kubernetes: the kubeconfig `FILE` (default: as kubectl, else the pod's own account)")
	f.StringVar(&w.context, "context", "", "kubernetes: the `NAME` of a context of the kubeconfig")
	f.StringVar(&w.namespace, "namespace", "", "kubernetes: the `NAMESPACE` of sandboxes (default: the context's)")
	f.DurationVar(&w.acquireTimeout, "acquire-timeout", 5*time.Minute, "kubernetes: wait `D` at most until a sandbox is ready")
	f.StringVar(&w.gatewayName, "gateway-name", "", "gateway: the `NAME` of the Gateway")
	f.StringVar(&w.gatewayNamespace, "gateway-namespace", "default", "gateway: the `NAMESPACE` of the Gateway")
	f.DurationVar(&w.gatewayTimeout, "gateway-timeout", 3*time.Minute, "gateway: wait `D` at most for its address")
	f.StringVar(&w.apiURL, "api-url", "", "direct: the router's `URL`")
	f.StringVar(&w.clusterDomain, "cluster-domain", "cluster.local", "in-cluster: the `DOMAIN` that names of services end with")
	f.BoolVar(&w.podIP, "pod-ip", false, "in-cluster: reach sandboxes by the addresses of their pods")
	f.StringVar(&w.routerNamespace, "router-namespace", "agent-sandbox-system", "kubernetes: the `NAMESPACE` of the router")
	f.StringVar(&w.caFile, "ca-file", "", "kubernetes: certificates, in `FILE`, that sign the gateway's or the URL's")
	f.StringVar(&w.tokenFile, "token-file", "", "kubernetes: a bearer token, in `FILE`, for the gateway, the URL or the router")
	f.BoolVar(&w.tracing, "tracing", false, "send spans by OTLP over HTTP; OTEL_EXPORTER_OTLP_ENDPOINT and its like say where to")
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Name != "tracing" {
			cmd.Flags().AddFlag(flag)
		}
	})
}

// variable is the environment variable of a flag.
func variable(flag string) string {
	return "SBXRUN_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// resolve reads the environment and the profile for what no flag says, and refuses what contradicts itself. dir is where
// the search for .sbxrun.yaml starts.
func (w *where) resolve(lookup func(string) (string, bool), dir string) error {
	w.from = map[string]source{}
	var errs []error
	w.flags.VisitAll(func(f *pflag.Flag) {
		name := variable(f.Name)
		if f.Changed {
			w.from[f.Name] = source{byFlag, "--" + f.Name}
		} else if text, ok := lookup(name); ok && text != "" {
			w.from[f.Name] = source{byEnvironment, name}
			if err := f.Value.Set(text); err != nil {
				errs = append(errs, usagef("%s: %v", name, valueError(f, text, err)))
			}
		}
	})
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := w.readProfile(dir); err != nil {
		return err
	}
	return w.check()
}

// valueError says what a value of a flag should be.
func valueError(f *pflag.Flag, text string, err error) error {
	switch f.Value.Type() {
	case "bool":
		return fmt.Errorf("true or false is needed, not %q", text)
	case "duration":
		return fmt.Errorf("a time such as 90s or 3m is needed, not %q", text)
	}
	return err
}

func (w *where) check() error {
	if err := oneOf(w.said("provider"), w.provider, localName, kubernetesName); err != nil {
		return err
	}
	if w.provider == localName {
		return w.refuse("provider", func(name string) string {
			if name == "profile" || name == "provider" || name == "tracing" {
				return ""
			}
			return "is for --provider kubernetes, and sandboxes come from this machine"
		})
	}
	if err := oneOf(w.said("connection"), w.connection, tunnel, gateway, inCluster, direct); err != nil {
		return err
	}
	err := w.refuse("connection", func(name string) string {
		if of := only[name]; of != "" && of != w.connection {
			return fmt.Sprintf("is for --connection %s, and the connection is %s", of, w.connection)
		}
		return ""
	})
	if err != nil {
		return err
	}
	if err := w.oneSource(); err != nil {
		return err
	}
	switch {
	case w.connection == gateway && w.gatewayName == "":
		return usagef("--connection gateway needs --gateway-name: the Gateway whose address leads to the router")
	case w.connection == direct && w.apiURL == "":
		return usagef("--connection direct needs --api-url: where the router is, such as https://sandboxes.example.org")
	case w.gatewayTimeout <= 0:
		return usagef("%s: a time limit is positive", w.said("gateway-timeout"))
	case w.acquireTimeout <= 0:
		return usagef("%s: a time limit is positive", w.said("acquire-timeout"))
	}
	if u, err := url.Parse(w.apiURL); w.connection == direct && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return usagef("%s: %q is no URL such as https://sandboxes.example.org", w.said("api-url"), w.apiURL)
	}
	return nil
}

// said is how a value was given, for messages.
func (w *where) said(name string) string {
	return cmp.Or(w.from[name].name, "--"+name)
}

// refuse returns the first value that was given and that why has an objection to. A flag is always judged. What the profile
// says is only where nothing above it decided otherwise, and the environment never: it is there for other runs too.
func (w *where) refuse(decider string, why func(name string) string) (err error) {
	w.flags.VisitAll(func(f *pflag.Flag) {
		s, given := w.from[f.Name]
		if !given || err != nil || s.rank == byEnvironment || s.rank < w.from[decider].rank {
			return
		}
		if reason := why(f.Name); reason != "" {
			err = usagef("%s %s", s.name, reason)
		}
	})
	return err
}

// oneSource keeps of warmpool, template and image what ranks highest; two of one rank are an error.
func (w *where) oneSource() error {
	top := byDefault
	for _, name := range sources {
		top = max(top, w.from[name].rank)
	}
	chosen := ""
	for _, name := range sources {
		switch {
		case w.from[name].rank < top:
			_ = w.flags.Lookup(name).Value.Set("") // which texts take
		case top > byDefault && chosen != "":
			return usagef("%s and %s exclude each other: sandboxes come from one of them", w.from[chosen].name, w.from[name].name)
		default:
			chosen = name
		}
	}
	return nil
}

// origin is what sandboxes come from that name nothing themselves; empty: that was not said.
func (w *where) origin() string {
	switch {
	case w.warmpool != "":
		return "warm pool " + w.warmpool
	case w.template != "":
		return "template " + w.template
	case w.image != "":
		return "image " + w.image
	}
	return ""
}

// gcCommand is the command that removes what is left of this run: gc with all that was said of where it is. What the profile
// says it finds there again.
func (w *where) gcCommand() string {
	words := []string{"sbxrun gc"}
	for _, name := range []string{"profile", "provider", "kubeconfig", "context", "namespace"} {
		if w.from[name].rank < byEnvironment || w.provider != kubernetesName && name != "profile" && name != "provider" {
			continue
		}
		value, err := syntax.Quote(w.flags.Lookup(name).Value.String(), syntax.LangPOSIX)
		if err != nil { // no shell could pass it on, so none has
			continue
		}
		words = append(words, "--"+name+" "+value)
	}
	return strings.Join(words, " ")
}
