package recipe

import (
	"strings"

	"github.com/sbxrun/sbxrun/internal/expr"
	"k8s.io/apimachinery/pkg/api/resource"
)

// vars are the defaults of vars.
func (d *decoder) vars(v *value) []Var {
	if v == nil {
		return nil
	}
	all := make([]Var, 0, len(v.entries))
	for _, e := range v.entries {
		all = append(all, Var{Name: e.key, Value: d.data(e.value), Pos: e.pos})
	}
	return all
}

func (d *decoder) secrets(v *value) []Secret {
	var all []Secret
	seen := map[string]Pos{}
	for _, item := range v.list() {
		if first, ok := seen[item.text]; ok {
			d.errorf(item.pos, "duplicate secret %q, first at %s", shorten(item.text), first)
			continue
		}
		seen[item.text] = item.pos
		all = append(all, Secret{item.text, item.pos})
	}
	return all
}

func (d *decoder) env(v *value, at place) []EnvVar {
	if v == nil {
		return nil
	}
	var all []EnvVar
	for _, e := range v.entries {
		all = append(all, EnvVar{Name: e.key, Value: d.template(e.value, at), Pos: e.pos})
	}
	return all
}

// sandboxes are the named ones, or "default".
func (d *decoder) sandboxes(v *value) []Sandbox {
	if v == nil || len(v.entries) == 0 {
		return []Sandbox{{Name: "default"}}
	}
	all := make([]Sandbox, 0, len(v.entries))
	for _, e := range v.entries {
		all = append(all, d.sandbox(e))
	}
	return all
}

func (d *decoder) sandbox(e *entry) Sandbox {
	v, at := e.value, place{scope: d.known.Row()}
	pod, local := v.get("pod"), v.get("local")
	s := Sandbox{
		Name:           e.key,
		Pos:            e.pos,
		WarmPool:       d.template(v.get("warmpool"), at),
		Template:       d.template(v.get("template"), at),
		Image:          d.template(v.get("image"), at),
		Spec:           d.values(v.get("spec"), at),
		Runtime:        v.get("runtime").word(),
		Port:           v.get("port").integer(0),
		Labels:         d.textValues(v.get("labels"), at),
		PodLabels:      d.textValues(pod.get("labels"), at),
		PodAnnotations: d.textValues(pod.get("annotations"), at),
		Volumes:        d.values(v.get("volumes"), at),
		Limits:         d.limits(v.get("limits"), at),
		Network:        v.get("network").word(),
		Rootfs:         d.template(local.get("rootfs"), at),
		Isolation:      local.get("isolation").word(),
	}
	s.Env = d.env(v.get("env"), d.recipeEnv())
	if s.Isolation == "gvisor" {
		d.errorf(local.get("isolation").pos, "isolation gvisor is not in this version of sbxrun: use namespaces")
	}
	for _, m := range local.get("mounts").list() {
		mount := Mount{Src: d.template(m.get("src"), at), Dst: d.template(m.get("dst"), at), Writable: m.get("writable").truth(), Pos: m.pos}
		if dst := mount.Dst; dst != nil && dst.IsLiteral() && !strings.HasPrefix(dst.Source(), "/") {
			d.errorf(m.get("dst").pos, "dst: a mount needs an absolute path in the sandbox")
		}
		if src := mount.Src; src != nil && m.get("dst") == nil && src.IsLiteral() && !strings.HasPrefix(src.Source(), "/") {
			d.errorf(m.get("src").pos, "src: a mount of a path beside the recipe needs dst, its absolute path in the sandbox")
		}
		s.Mounts = append(s.Mounts, mount)
	}
	return s
}

// textValues are a mapping to text, with numbers as they are written.
func (d *decoder) textValues(v *value, at place) *expr.Value {
	if v == nil || v.kind != mapping {
		return nil
	}
	before := len(d.mistakes)
	all := make(map[string]any, len(v.entries))
	for _, e := range v.entries {
		all[e.key] = e.value.text
		d.template(e.value, at)
	}
	if len(d.mistakes) > before {
		return nil
	}
	x, err := expr.ParseValue(all, at.scope)
	if err != nil {
		d.errorf(v.pos, "%s", err)
	}
	return x
}

func (d *decoder) limits(v *value, at place) Limits {
	quantity := func(key string) *expr.Template {
		q := v.get(key)
		t := d.template(q, at)
		if t == nil || !t.IsLiteral() {
			return t
		}
		n, err := resource.ParseQuantity(q.text)
		switch {
		case err != nil:
			d.errorf(q.pos, "%s: expected a quantity such as 512Mi, 1Gi, 500m or 2, got %s", key, q)
		case n.Sign() <= 0:
			d.errorf(q.pos, "%s: a limit must be more than 0", key)
		case key != "cpu" && n.MilliValue()%1000 != 0 && n.Value() < 1<<40:
			d.errorf(q.pos, "%s: a limit of whole units, but %s is a part of one: m is a thousandth, Mi a million", key, q.text)
		}
		return t
	}
	return Limits{
		CPU: quantity("cpu"), Memory: quantity("memory"), PIDs: quantity("pids"), Disk: quantity("disk"),
		Inodes: quantity("inodes"), Files: quantity("files"), Output: quantity("output"),
	}
}

func (d *decoder) pool(v *value) Pool {
	p := Pool{Size: v.get("size").integer(0), Warm: v.get("warm").integer(-1), Reuse: "never"}
	if reuse := v.get("reuse").word(); reuse != "" {
		p.Reuse = reuse
	}
	return p
}
