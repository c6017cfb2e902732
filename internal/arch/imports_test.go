// Package arch holds the rules of who may import whom, as a test. ARCHITECTURE.md shows the same table.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sbxrun/sbxrun"

// A rule says what a package may import: of this project, and of other modules. A trailing /... is the package and
// all below it; "*" is everything.
type rule struct {
	pkg     string
	project []string
	modules []string // nil: any but those of bans; none: []string{}
	reason  string
}

var rules = []rule{
	{"pkg/sandbox", nil, []string{}, "the contract of providers is what others implement: it drags nothing along"},
	{"pkg/event", nil, []string{}, "the record of a run is read by programs that know nothing of running"},
	{"schemas", nil, []string{}, "it only embeds files"},
	{"recipes/...", nil, []string{}, "it only holds files"},
	{"internal/nearest", nil, nil, "it is a leaf that says which name was meant"},
	{"internal/mask", nil, []string{}, "what is a secret is told by those who have it; hiding it needs nothing else"},
	{"internal/beneath", nil, nil, "it is a leaf that opens files: whose they are the caller knows"},
	{"internal/expr", []string{"internal/nearest"}, nil, "recipes, plans, checks and gates share one language, which knows none of them"},
	{"pkg/recipe", []string{"schemas", "internal/expr", "internal/nearest"}, nil, "reading a recipe must not depend on what is done with it"},
	{"pkg/plan", []string{"pkg/recipe", "pkg/sandbox", "internal/expr", "internal/mask", "internal/nearest"}, nil,
		"a plan is plain data; of pkg/sandbox it takes data types only"},
	{"internal/check", []string{"pkg/recipe", "pkg/event", "internal/expr", "internal/mask"}, nil,
		"an expectation is judged by an outcome alone, wherever that came from"},
	{"pkg/executor", []string{"pkg/recipe", "pkg/plan", "pkg/sandbox", "pkg/event", "internal/beneath", "internal/check", "internal/expr", "internal/mask"}, nil,
		"it runs on any provider and is shown by any report, so it knows none"},
	{"pkg/sandbox/sandboxtest/...", []string{"pkg/sandbox", "pkg/sandbox/sandboxtest/..."}, nil, "the conformance suite is for providers of other modules too"},
	{"pkg/sandbox/local/...", []string{"pkg/sandbox", "pkg/sandbox/local/...", "internal/beneath"}, nil, "a provider keeps the contract and knows nothing of recipes and results"},
	{"pkg/sandbox/kubernetes/...", []string{"pkg/sandbox", "pkg/sandbox/kubernetes/..."}, nil, "a provider keeps the contract and knows nothing of recipes and results"},
	{"internal/tracing", []string{"pkg/executor", "pkg/event"}, nil, "it is a sink of spans: what is run, and where, it does not know"},
	{"internal/report", []string{"pkg/event"}, nil, "a report is a function of recorded events, so that it can be made again"},
	{"internal/arch", nil, []string{}, "it is this test"},
	{"internal/bench/...", []string{"pkg/...", "internal/..."}, nil, "it measures everything"},
	{"internal/cli", []string{"*"}, nil, "it wires everything together"},
	{"test/...", []string{"internal/cli", "pkg/sandbox/...", "pkg/event"}, nil, "end-to-end tests use what users use"},
	{"cmd/sbxrun", []string{"internal/cli"}, nil, "main hands over to internal/cli"},
}

// bans are modules that may be imported by some packages only.
var bans = []struct {
	module string
	except []string
	reason string
}{
	{"k8s.io/client-go", []string{"pkg/sandbox/kubernetes/..."}, "the client of Kubernetes is large; it belongs in the Kubernetes provider alone"},
	{"k8s.io/api", []string{"pkg/sandbox/kubernetes/..."}, "as client-go"},
	{"k8s.io/streaming", []string{"pkg/sandbox/kubernetes/..."}, "as client-go"},
	{"sigs.k8s.io/agent-sandbox", []string{"pkg/sandbox/kubernetes/..."}, "as client-go"},
	{"google.golang.org/grpc", []string{"pkg/sandbox/kubernetes/..."}, "as client-go"},
	{"github.com/hashicorp/go-retryablehttp", []string{"pkg/sandbox/kubernetes/..."}, "as client-go"},
	{"go.opentelemetry.io/otel/sdk", []string{"internal/tracing"}, "providers only carry a trace on; one package sends it"},
	{"go.opentelemetry.io/otel/exporters", []string{"internal/tracing"}, "as the SDK"},
	{"github.com/spf13/cobra", []string{"internal/cli"}, "the command line is one package"},
	{"github.com/expr-lang/expr", []string{"internal/expr"}, "the language is chosen in one package"},
	{"gopkg.in/yaml.v3", []string{"pkg/recipe", "pkg/plan", "internal/cli"}, "YAML is read where recipes, rows and --set values come in"},
	{"golang.org/x/net", []string{"pkg/sandbox/local/..."}, "walls are the local provider's"},
	{"github.com/godbus/dbus", []string{"pkg/sandbox/local/internal/scope"}, "the spawner has to do without: its start is part of every run"},
	{"github.com/vishvananda/netlink", []string{"pkg/sandbox/local/..."}, "walls are the local provider's"},
}

// pkg is what go list says of a package. Of this project tests may import anything: they use the fake provider anywhere.
type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func TestImports(t *testing.T) {
	packages := list(t)
	if len(packages) < 5 {
		t.Fatalf("go list found only %d packages", len(packages))
	}
	for _, p := range packages {
		name := inProject(p.ImportPath)
		i := slices.IndexFunc(rules, func(r rule) bool { return matches(name, r.pkg) })
		if i < 0 {
			t.Errorf("%s has no rule: say in rules what it may import", name)
			continue
		}
		for _, imported := range p.Imports {
			if why := forbidden(name, imported, rules[i]); why != "" {
				t.Errorf("%s imports %s, which it may not: %s", name, imported, why)
			}
		}
	}
}

// The rules themselves are tested: one that never says no would be no rule.
func TestRules(t *testing.T) {
	tests := []struct {
		pkg, imported string
		want          bool
	}{
		{"pkg/sandbox", "context", true},
		{"pkg/sandbox", module + "/pkg/event", false},
		{"pkg/sandbox", "golang.org/x/sys/unix", false},
		{"pkg/event", module + "/pkg/recipe", false},
		{"internal/report", module + "/pkg/executor", false},
		{"pkg/executor", module + "/pkg/sandbox/local", false},
		{"pkg/executor", module + "/internal/report", false},
		{"pkg/executor", module + "/pkg/recipe", true},
		{"pkg/executor", "golang.org/x/sync/errgroup", true},
		{"pkg/sandbox/local", module + "/pkg/sandbox/local/internal/x", true},
		{"pkg/sandbox/local/internal/x", module + "/pkg/plan", false},
		{"internal/cli", module + "/pkg/sandbox/local", true},
		{"internal/cli", "k8s.io/client-go/rest", false},
		{"pkg/sandbox/kubernetes/internal/claim", "k8s.io/client-go/rest", true},
		{"pkg/sandbox/kubernetes/internal/claim", module + "/pkg/sandbox/local", false},
		{"pkg/sandbox/local", "sigs.k8s.io/agent-sandbox/api/v1beta1", false},
		{"pkg/executor", "go.opentelemetry.io/otel/sdk/trace", false},
		{"pkg/executor", module + "/internal/tracing", false},
		{"internal/cli", "k8s.io/apimachinery/pkg/api/resource", true},
		{"pkg/recipe", "github.com/spf13/cobra", false},
	}
	for _, tt := range tests {
		i := slices.IndexFunc(rules, func(r rule) bool { return matches(tt.pkg, r.pkg) })
		if why := forbidden(tt.pkg, tt.imported, rules[i]); (why == "") != tt.want {
			t.Errorf("%s importing %s: allowed is %v, want %v (%s)", tt.pkg, tt.imported, why == "", tt.want, why)
		}
	}
}

// A spawner takes over as soon as Go has initialised what its package needs, and is started for each run: what is not for
// making sandboxes would make every run wait, however far away it is imported.
func TestSpawnerNeedsLittle(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", module+"/pkg/sandbox/local/internal/spawner").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, module+"/pkg/sandbox/local/internal/rawclone") {
		t.Fatalf("go list says %q", deps)
	}
	for _, dep := range deps {
		for _, late := range []string{"net/http", "github.com/godbus", "github.com/santhosh-tekuri", "k8s.io", "sigs.k8s.io", "google.golang.org"} {
			if dep == late || strings.HasPrefix(dep, late+"/") {
				t.Errorf("the spawner needs %s", dep)
			}
		}
	}
}

// ARCHITECTURE.md has the rules as a table, and a line for each module that is imported.
func TestArchitecture(t *testing.T) {
	data, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|"); len(cells) == 3 {
			rows[strings.TrimSpace(cells[0])] = strings.TrimSpace(cells[2])
		}
	}
	for _, r := range rules {
		want := strings.Join(r.project, ", ")
		switch want {
		case "":
			want = "nothing"
		case "*":
			want = "everything"
		}
		if got := rows[r.pkg]; got != want {
			t.Errorf("ARCHITECTURE.md says that %s may import %q, the rule is %q", r.pkg, got, want)
		}
	}
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list(t) {
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if module := moduleOf(string(mod), imported); module != "" && !strings.Contains(string(data), strings.TrimPrefix(module, "github.com/")) {
				t.Errorf("ARCHITECTURE.md does not say what %s is for, which %s imports", module, inProject(p.ImportPath))
			}
		}
	}
}

// moduleOf is the module of go.mod that a package is in, "" for others.
func moduleOf(mod, path string) string {
	for line := range strings.Lines(mod) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], "v") && (path == fields[0] || strings.HasPrefix(path, fields[0]+"/")) {
			return fields[0]
		}
	}
	return ""
}

// forbidden says why a package may not import another, or "".
func forbidden(name, imported string, r rule) string {
	allowed := func(patterns []string, path string) bool {
		return slices.ContainsFunc(patterns, func(pattern string) bool { return pattern == "*" || matches(path, pattern) })
	}
	if imported == module || strings.HasPrefix(imported, module+"/") {
		if !allowed(r.project, inProject(imported)) {
			return r.reason
		}
		return ""
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return "" // the standard library
	}
	for _, b := range bans {
		if matches(imported, b.module+"/...") && !allowed(b.except, name) {
			return b.reason
		}
	}
	if r.modules != nil && !allowed(r.modules, imported) {
		return r.reason
	}
	return ""
}

// matches says whether path is pattern, or below it where pattern ends in /... .
func matches(path, pattern string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == base || strings.HasPrefix(path, base+"/")
	}
	return path == pattern
}

func inProject(path string) string { return strings.TrimPrefix(path, module+"/") }

func list(t *testing.T) []pkg {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var packages []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}
