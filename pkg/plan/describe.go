package plan

import (
	"fmt"
	"maps"
	"slices"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/internal/mask"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// The types below are the plan as JSON, but for its cases. Texts and values are as in the recipe, with their
// expressions; durations are Go's. What is not said is left out.
type description struct {
	Recipe      string         `json:"recipe"`
	File        string         `json:"file"`
	Description string         `json:"description,omitempty"`
	Digest      string         `json:"digest"`
	Vars        map[string]any `json:"vars,omitempty"`
	Env         variables      `json:"env,omitempty"`
	Secrets     []string       `json:"secrets,omitempty"` // names
	Sandboxes   []boxJSON      `json:"sandboxes"`
	Origin      string         `json:"origin,omitempty"` // of sandboxes that name nothing themselves
	Files       []fileJSON     `json:"files,omitempty"`
	Steps       []itemJSON     `json:"steps"`
	Finally     []itemJSON     `json:"finally,omitempty"`
	Collect     []collectJSON  `json:"collect,omitempty"`
	Verify      []itemJSON     `json:"verify,omitempty"`
	Timeout     string         `json:"timeout"`
	Pool        poolJSON       `json:"pool"`
	Gates       []*expr.Expr   `json:"gates,omitempty"`
	Samples     int            `json:"samples"` // of each case
	CaseCount   int            `json:"case_count"`
	Total       int            `json:"total"` // samples in all
}

type variables map[string]*expr.Template

type poolJSON struct {
	Size  int    `json:"size"`
	Warm  *int   `json:"warm,omitempty"` // left out: auto
	Reuse string `json:"reuse,omitempty"`
}

type boxJSON struct {
	Name           string                    `json:"name"`
	WarmPool       *expr.Template            `json:"warmpool,omitempty"`
	Template       *expr.Template            `json:"template,omitempty"`
	Image          *expr.Template            `json:"image,omitempty"`
	Spec           *expr.Value               `json:"spec,omitempty"`
	Runtime        string                    `json:"runtime,omitempty"`
	Port           int                       `json:"port,omitempty"`
	Env            variables                 `json:"env,omitempty"`
	Labels         *expr.Value               `json:"labels,omitempty"`
	PodLabels      *expr.Value               `json:"pod_labels,omitempty"`
	PodAnnotations *expr.Value               `json:"pod_annotations,omitempty"`
	Volumes        *expr.Value               `json:"volumes,omitempty"`
	Limits         map[string]*expr.Template `json:"limits,omitempty"`
	Network        string                    `json:"network,omitempty"`
	Rootfs         *expr.Template            `json:"rootfs,omitempty"`
	Mounts         []mountJSON               `json:"mounts,omitempty"`
	Isolation      string                    `json:"isolation,omitempty"`
}

type mountJSON struct {
	Src      *expr.Template `json:"src"`
	Dst      *expr.Template `json:"dst,omitempty"`
	Writable bool           `json:"writable,omitempty"`
}

type fileJSON struct {
	Src      *expr.Template `json:"src,omitempty"`
	Content  *expr.Template `json:"content,omitempty"`
	From     string         `json:"from,omitempty"`
	Dst      *expr.Template `json:"dst,omitempty"`
	Mode     string         `json:"mode,omitempty"` // octal, or an expression
	Sandbox  string         `json:"sandbox,omitempty"`
	Optional *expr.Value    `json:"optional,omitempty"`
}

type collectJSON struct {
	Src      *expr.Template `json:"src"`
	Sandbox  string         `json:"sandbox,omitempty"`
	Optional *expr.Value    `json:"optional,omitempty"`
}

// itemJSON is a step, or a group of them.
type itemJSON struct {
	*stepJSON
	Parallel []stepJSON `json:"parallel,omitempty"`
	Max      int        `json:"max,omitempty"`
}

type stepJSON struct {
	Name            *expr.Template        `json:"name"`
	ID              string                `json:"id,omitempty"`
	Line            int                   `json:"line,omitempty"`
	If              *expr.Expr            `json:"if,omitempty"`
	Run             *expr.Template        `json:"run,omitempty"`
	Argv            []*expr.Template      `json:"argv,omitempty"`
	Shell           []string              `json:"shell,omitempty"`
	Sandbox         string                `json:"sandbox,omitempty"`
	Files           []fileJSON            `json:"files,omitempty"`
	Stdin           *expr.Template        `json:"stdin,omitempty"`
	StdinFile       *expr.Template        `json:"stdin_file,omitempty"`
	Env             variables             `json:"env,omitempty"`
	Dir             *expr.Template        `json:"dir,omitempty"`
	Timeout         *expr.Value           `json:"timeout,omitempty"`
	Retry           *retryJSON            `json:"retry,omitempty"`
	ContinueOnError *expr.Value           `json:"continue_on_error,omitempty"`
	Background      bool                  `json:"background,omitempty"`
	Ready           *readyJSON            `json:"ready,omitempty"`
	Expect          []string              `json:"expect,omitempty"` // what is checked: exit, stdout.golden, that, ...
	Capture         map[string]*expr.Expr `json:"capture,omitempty"`
}

type retryJSON struct {
	Attempts *expr.Value `json:"attempts"`
	Backoff  string      `json:"backoff,omitempty"`
	On       []string    `json:"on,omitempty"`
}

type readyJSON struct {
	Port    *expr.Value    `json:"port,omitempty"`
	Command *expr.Template `json:"command,omitempty"`
	Output  *expr.Template `json:"output,omitempty"`
	Timeout string         `json:"timeout"`
}

func secretName(s recipe.Secret) string { return s.Name }

func (p *Plan) describe(secrets *mask.Mask) description {
	r := p.Recipe
	d := description{
		Recipe: r.Name, File: r.Path, Description: r.Description, Digest: p.Digest, Vars: mask.Value(secrets, p.Vars), Env: env(r.Env),
		Secrets: each(r.Secrets, secretName), Sandboxes: each(r.Sandboxes, box), Origin: p.origin, Files: each(r.Files, file), Steps: each(r.Steps, item),
		Finally: each(r.Finally, item), Verify: each(r.Verify, item), Timeout: p.Timeout.String(),
		Pool: poolJSON{Size: p.Pool.Size, Reuse: p.Pool.Reuse}, Samples: p.Samples, CaseCount: p.Cases, Total: p.Total,
		Collect: each(r.Collect, func(c recipe.Collect) collectJSON { return collectJSON{c.Src, c.Sandbox, unlessFalse(c.Optional)} }),
		Gates:   each(r.Gates, func(g recipe.Gate) *expr.Expr { return g.Expr }),
	}
	if p.Pool.Warm >= 0 {
		d.Pool.Warm = &p.Pool.Warm
	}
	return d
}

// each is what f makes of every element. No elements: an empty list, which omitempty leaves out.
func each[A, B any](in []A, f func(A) B) []B {
	out := make([]B, len(in))
	for i, a := range in {
		out[i] = f(a)
	}
	return out
}

func env(list []recipe.EnvVar) variables {
	out := variables{}
	for _, v := range list {
		out[v.Name] = v.Value
	}
	return out
}

func box(s recipe.Sandbox) boxJSON {
	b := boxJSON{
		Name: s.Name, WarmPool: s.WarmPool, Template: s.Template, Image: s.Image, Spec: s.Spec, Runtime: s.Runtime, Port: s.Port,
		Env: env(s.Env), Labels: s.Labels, PodLabels: s.PodLabels, PodAnnotations: s.PodAnnotations, Volumes: s.Volumes,
		Limits: map[string]*expr.Template{}, Network: s.Network, Rootfs: s.Rootfs, Isolation: s.Isolation,
		Mounts: each(s.Mounts, func(m recipe.Mount) mountJSON { return mountJSON{m.Src, m.Dst, m.Writable} }),
	}
	for name, t := range map[string]*expr.Template{
		"cpu": s.Limits.CPU, "memory": s.Limits.Memory, "pids": s.Limits.PIDs, "disk": s.Limits.Disk,
		"inodes": s.Limits.Inodes, "files": s.Limits.Files, "output": s.Limits.Output,
	} {
		if t != nil {
			b.Limits[name] = t
		}
	}
	return b
}

func file(f recipe.File) fileJSON {
	out := fileJSON{Src: f.Src, Content: f.Content, From: f.From, Dst: f.Dst, Sandbox: f.Sandbox, Optional: unlessFalse(f.Optional)}
	if f.Mode != nil {
		out.Mode = f.Mode.Source()
		if mode, err := recipe.ModeOf(out.Mode); err == nil {
			out.Mode = fmt.Sprintf("%04o", mode)
		}
	}
	return out
}

// unlessFalse leaves out what is false, as it is where it is not given.
func unlessFalse(v *expr.Value) *expr.Value {
	if v != nil && v.Source() == false {
		return nil
	}
	return v
}

func item(i recipe.Item) itemJSON {
	if i.Parallel {
		return itemJSON{Parallel: each(i.Steps, step), Max: i.Max}
	}
	s := step(i.Steps[0])
	return itemJSON{stepJSON: &s}
}

func step(s recipe.Step) stepJSON {
	out := stepJSON{
		Name: s.Name, ID: s.ID, Line: s.Pos.Line, If: s.If, Run: s.Run, Argv: s.Argv, Sandbox: s.Sandbox,
		Files: each(s.Files, file), Stdin: s.Stdin, StdinFile: s.StdinFile, Env: env(s.Env), Dir: s.Dir, Timeout: s.Timeout,
		ContinueOnError: unlessFalse(s.ContinueOnError), Background: s.Background, Expect: expectations(s.Expect), Capture: map[string]*expr.Expr{},
	}
	if s.Run != nil {
		out.Shell = s.Shell
	}
	if r := s.Retry; r.Attempts != nil && r.Attempts.Source() != 1 {
		out.Retry = &retryJSON{r.Attempts, duration(r.Backoff), r.On}
	}
	if r := s.Ready; r != nil {
		out.Ready = &readyJSON{r.Port, r.Command, r.Output, duration(r.Timeout)}
	}
	for _, c := range s.Capture {
		out.Capture[c.Name] = c.Expr
	}
	return out
}

// duration is in Go's form where it is known.
func duration(v *expr.Value) string {
	if v == nil {
		return ""
	}
	if v.IsLiteral() {
		if d, err := Duration(v, nil); err == nil {
			return d.String()
		}
	}
	return values(v)
}

// expectations names what a step's outcome is compared with.
func expectations(e recipe.Expect) []string {
	var out []string
	switch {
	case e.Exit.Any:
		out = append(out, "exit any")
	case e.Exit.Values != nil:
		out = append(out, "exit "+values(e.Exit.Values))
	}
	out = append(out, texts("stdout", e.Stdout)...)
	out = append(out, texts("stderr", e.Stderr)...)
	for _, f := range e.Files {
		name := fmt.Sprintf("files[%q]", f.Path.Source())
		if f.Exists != nil {
			out = append(out, name+".exists "+values(f.Exists))
		}
		if f.SHA256 != nil {
			out = append(out, name+".sha256")
		}
		if f.Size != nil {
			out = append(out, name+".size "+values(f.Size))
		}
		out = append(out, texts(name, f.Text)...)
	}
	for _, t := range e.That {
		out = append(out, t.Expr.Source())
	}
	return out
}

func values(v *expr.Value) string {
	s, err := expr.TextOf(v.Source())
	if err != nil {
		return fmt.Sprint(v.Source())
	}
	return s
}

func texts(name string, t *recipe.Text) []string {
	if t == nil {
		return nil
	}
	var out []string
	for key, n := range map[string]int{
		"equals": len(t.Equals), "contains": len(t.Contains), "not_contains": len(t.NotContains),
		"matches": len(t.Matches), "not_matches": len(t.NotMatches), "golden": len(t.Golden),
	} {
		if n > 0 {
			out = append(out, name+"."+key)
		}
	}
	if t.JSON != nil {
		out = append(out, name+".json")
	}
	slices.Sort(out)
	return out
}

// varsText are the vars as --set would give them, for people.
func varsText(vars map[string]any) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		s, err := expr.TextOf(vars[name])
		if err != nil {
			s = fmt.Sprint(vars[name])
		}
		out = append(out, name+"="+s)
	}
	return out
}
