package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// SandboxSpec evaluates a sandbox of the recipe. Group and Labels are left to the caller. The error is an *Error.
func (p *Plan) SandboxSpec(sb recipe.Sandbox, env expr.Env) (sandbox.Spec, error) {
	e := evaluator{env: env}
	spec := sandbox.Spec{
		Name:    sb.Name,
		Network: sandbox.Network(sb.Network),
		Local:   sandbox.Local{Isolation: sandbox.Isolation(sb.Isolation)},
		Cluster: sandbox.Cluster{
			WarmPool:       e.text("warmpool", sb.WarmPool),
			Template:       e.text("template", sb.Template),
			Image:          e.text("image", sb.Image),
			Spec:           e.json("spec", sb.Spec),
			Runtime:        sb.Runtime,
			Port:           sb.Port,
			Labels:         e.texts("labels", sb.Labels),
			PodLabels:      e.texts("pod.labels", sb.PodLabels),
			PodAnnotations: e.texts("pod.annotations", sb.PodAnnotations),
			Volumes:        e.json("volumes", sb.Volumes),
		},
	}
	if from := &spec.Cluster; e.err == nil && (sb.WarmPool != nil || sb.Template != nil || sb.Image != nil || sb.Spec != nil) &&
		from.WarmPool == "" && from.Template == "" && from.Image == "" && len(from.Spec) == 0 {
		e.err = errors.New("warmpool, template, image or spec is empty, and no other one takes its place")
	}
	if e.err == nil {
		spec.Limits, e.err = limits(sb.Limits, env)
	}
	if rootfs := e.text("local.rootfs", sb.Rootfs); rootfs != "" && rootfs != "host" {
		spec.Local.Rootfs = p.beside(rootfs)
	}
	for i, m := range sb.Mounts {
		mount := sandbox.Mount{
			Source:   e.text(fmt.Sprintf("local.mounts[%d].src", i), m.Src),
			Target:   e.text(fmt.Sprintf("local.mounts[%d].dst", i), m.Dst),
			Writable: m.Writable,
		}
		switch {
		case e.err != nil:
		case mount.Source == "":
			e.err = fmt.Errorf("local.mounts[%d].src is empty", i)
		case mount.Target != "" && !filepath.IsAbs(mount.Target):
			e.err = fmt.Errorf("local.mounts[%d].dst: %s must be an absolute path", i, mount.Target)
		default:
			mount.Source = p.beside(mount.Source)
			spec.Local.Mounts = append(spec.Local.Mounts, mount)
		}
	}
	if e.err != nil {
		return sandbox.Spec{}, place{p.Recipe.Path, sb.Pos}.errorf("sandbox %s: %w", sb.Name, e.err)
	}
	return spec, nil
}

// sandboxes evaluates the sandboxes that no case decides, so that what --set makes wrong is found before anything starts, and
// returns those that a case decides.
func (p *Plan) sandboxes() (ofCases []recipe.Sandbox, err error) {
	var errs []error
	for _, sb := range p.Recipe.Sandboxes {
		sb.Env = nil // no part of the spec
		uses := map[string]bool{}
		walk(reflect.ValueOf(sb), recipe.Pos{}, func(e compiled, _ recipe.Pos) {
			for _, root := range []string{"case", "run"} {
				uses[root] = uses[root] || e.Uses(root)
			}
		})
		switch {
		case uses["run"]: // known when it runs
		case uses["case"]:
			ofCases = append(ofCases, sb)
		default:
			_, err := p.SandboxSpec(sb, expr.Env{"vars": p.Vars})
			errs = append(errs, err)
		}
	}
	return ofCases, errors.Join(errs...)
}

// beside makes a path absolute that is relative to the recipe.
func (p *Plan) beside(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(p.Recipe.Dir, path)
}

// evaluator keeps the first error.
type evaluator struct {
	env expr.Env
	err error
}

func (e *evaluator) note(key string, err error) {
	if err != nil && e.err == nil {
		e.err = fmt.Errorf("%s: %w", key, err)
	}
}

func (e *evaluator) text(key string, t *expr.Template) string {
	if t == nil {
		return ""
	}
	s, err := t.Text(e.env)
	e.note(key, err)
	return s
}

func (e *evaluator) value(key string, v *expr.Value) any {
	if v == nil {
		return nil
	}
	x, err := v.Eval(e.env)
	e.note(key, err)
	return x
}

func (e *evaluator) json(key string, v *expr.Value) []byte {
	x := e.value(key, v)
	if x == nil {
		return nil
	}
	data, err := json.Marshal(x)
	e.note(key, err)
	return data
}

func (e *evaluator) texts(key string, v *expr.Value) map[string]string {
	x := e.value(key, v)
	if x == nil {
		return nil
	}
	m, ok := x.(map[string]any)
	if !ok {
		e.note(key, fmt.Errorf("a map is needed, got %s", kind(x)))
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		s, err := expr.TextOf(v)
		e.note(key+"."+k, err)
		out[k] = s
	}
	return out
}
