package recipe

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/internal/nearest"
)

// maxSteps is how many steps a recipe may have: each can be named in every expression.
const maxSteps = 1000

// scopes are the names that steps can use, but for the environment.
type scopes struct {
	sample, step, stepEnv, outcome *expr.Scope
}

// The parts of a recipe that have steps, in the order they run; gates see all of them.
const (
	partSteps = iota
	partFinally
	partVerify
	partGates
)

var partNames = []string{"steps", "finally", "verify"}

// stepRef is what expressions can know of a step.
type stepRef struct {
	id         string
	explicit   bool // the id is given, not made of the name
	pos        Pos
	part, item int
	background bool
}

// names gathers what expressions may use.
func (d *decoder) names(root *value) {
	k := &d.known
	for _, v := range d.recipe.Vars {
		k.Vars = append(k.Vars, v.Name)
	}
	for _, s := range d.recipe.Secrets {
		k.Secrets = append(k.Secrets, s.Name)
	}
	d.isolated = map[string]bool{}
	sandboxes := root.get("sandboxes")
	d.sandboxesUnknown = sandboxes != nil && (sandboxes.kind != mapping || len(sandboxes.entries) == 0)
	if sandboxes != nil {
		for _, e := range sandboxes.entries {
			k.Sandboxes = append(k.Sandboxes, e.key)
			d.isolated[e.key] = e.value.get("network").word() == "none"
		}
	}
	if len(k.Sandboxes) == 0 {
		k.Sandboxes = []string{"default"}
	}
	d.caseFields(root.get("cases"))

	d.refs = map[string][]*stepRef{}
	count := 0
	k.Steps = map[string][]string{}
	for part, name := range partNames {
		for i, item := range root.get(name).list() {
			for _, step := range stepsOf(item) {
				if count++; count == maxSteps+1 {
					d.errorf(step.pos, "more than %d steps", maxSteps)
				}
				if count <= maxSteps {
					d.stepNames(step, part, i)
				}
			}
		}
	}
	d.scopes.sample, d.scopes.step, d.scopes.stepEnv, d.scopes.outcome = k.Sample(), k.Step(), k.StepEnv(), k.Outcome()
}

// stepsOf are the steps of an item.
func stepsOf(item *value) []*value {
	if group := item.get("parallel"); group != nil {
		return group.list()
	}
	return []*value{item}
}

func (d *decoder) stepNames(v *value, part, item int) {
	if v.kind != mapping {
		return
	}
	ref := &stepRef{pos: v.pos, part: part, item: item, background: v.get("background").truth()}
	if id := v.entry("id"); id != nil && id.value.kind == text {
		ref.id, ref.explicit, ref.pos = id.value.text, true, id.value.pos
	} else if name := v.get("name"); name.scalar() {
		ref.id = idOf(name.text)
	} else {
		return // "step-N" is no name to be called by
	}
	for _, other := range d.refs[ref.id] {
		if ref.explicit && other.explicit {
			d.errorf(ref.pos, "duplicate id %q, first at %s", ref.id, other.pos)
			return
		}
	}
	d.refs[ref.id] = append(d.refs[ref.id], ref)
	if _, ok := d.known.Steps[ref.id]; !ok {
		d.known.Steps[ref.id] = nil
	}
	if capture := v.get("capture"); capture != nil {
		for _, e := range capture.entries {
			d.known.Steps[ref.id] = append(d.known.Steps[ref.id], e.key)
		}
	}
}

var notIdentifier = regexp.MustCompile(`^[0-9]|[^A-Za-z0-9_]`)

// idOf is the id that a step has by its name: every byte that an id cannot have becomes _.
func idOf(name string) string {
	return notIdentifier.ReplaceAllStringFunc(name, func(s string) string { return strings.Repeat("_", len(s)) })
}

// caseFields gathers the fields of cases; rows of files may have any.
func (d *decoder) caseFields(v *value) {
	add := func(entries []*entry) {
		for _, e := range entries {
			if !slices.Contains(d.known.Case, e.key) {
				d.known.Case = append(d.known.Case, e.key)
			}
		}
	}
	if v == nil {
		return
	}
	if v.kind != mapping || v.get("file") != nil || len(v.entries) == 0 {
		d.known.CaseOpen = true
	}
	if m := v.get("matrix"); m != nil {
		add(m.entries)
	}
	for _, row := range v.get("list").list() {
		add(row.entries)
	}
	if v.get("glob") != nil {
		d.known.Case = append(d.known.Case, "path", "name", "stem")
	}
}

// recipeEnv is where the env of the recipe and of sandboxes stands: it may use what a sample knows before its steps.
func (d *decoder) recipeEnv() place {
	return place{scope: d.scopes.sample.With(map[string]*expr.Name{"sandbox": d.scopes.step.Names["sandbox"]})}
}

// withEnv adds names of the environment to a scope.
func withEnv(scope *expr.Scope, names ...[]EnvVar) *expr.Scope {
	var all []string
	for _, env := range names {
		for _, e := range env {
			all = append(all, e.Name)
		}
	}
	return scope.With(map[string]*expr.Name{"env": expr.Fields(false, all...)})
}

// sandboxName is the name of a known sandbox; empty where it is not given or wrong.
func (d *decoder) sandboxName(v *value) string {
	if v == nil || v.kind != text || v.text == "" {
		return ""
	}
	if !slices.Contains(d.known.Sandboxes, v.text) {
		if d.sandboxesUnknown {
			return ""
		}
		d.errorf(v.pos, "unknown sandbox %q%s", shorten(v.text), suggest(v.text, d.known.Sandboxes, "the sandboxes are"))
		return ""
	}
	return v.text
}

// suggest says which name may have been meant.
func suggest(name string, names []string, all string) string {
	if near, ok := nearest.Nearest(name, names); ok {
		return fmt.Sprintf(", did you mean %q?", near)
	}
	return "; " + all + " " + strings.Join(names[:min(len(names), 20)], ", ")
}

// uses checks what an expression uses of other sandboxes and steps. find is that of the expression.
func (d *decoder) uses(v *value, at place, find func(root string, path ...string) int) {
	for _, name := range d.known.Sandboxes {
		if !d.isolated[name] || find("sandbox", "") >= 0 {
			continue
		}
		if offset := find("sandbox", name); offset >= 0 {
			d.errorf(d.src.within(v.node, offset), "sandbox.%s has network none, and so no address: give it network case", name)
		}
	}
	d.usesSteps(v, at, find)
}

// usesSteps checks that the steps that an expression uses have ended when it is evaluated.
func (d *decoder) usesSteps(v *value, at place, find func(root string, path ...string) int) {
	if at.step == nil || find("steps") < 0 || find("steps", "") >= 0 {
		return // steps[x] is known when it runs
	}
	for id, refs := range d.refs {
		offset := find("steps", id)
		if offset < 0 {
			continue
		}
		if why := at.step.cannotUse(id, refs); why != "" {
			d.errorf(d.src.within(v.node, offset), "%s", why)
		}
	}
}

// cannotUse says why an expression of s cannot use the steps with this id; empty: it can use the one there is.
func (s *stepRef) cannotUse(id string, refs []*stepRef) string {
	var seen []*stepRef
	for _, r := range refs {
		if r.part < s.part || r.part == s.part && r.item < s.item {
			seen = append(seen, r)
		}
	}
	first := refs[0]
	switch {
	case len(seen) > 1:
		return fmt.Sprintf("steps.%s is ambiguous: the steps at %s and %s have this id; give one of them another", id, seen[0].pos, seen[1].pos)
	case len(seen) == 1 && seen[0].background && s.part < partVerify:
		return fmt.Sprintf("steps.%s cannot be used here: that step runs in the background and has not ended", id)
	case len(seen) == 1:
		return ""
	case first.part == s.part && first.item == s.item && first.pos == s.pos:
		return fmt.Sprintf("steps.%s is this step itself: its outcome is known in that and capture, as exit, stdout, stderr and duration", id)
	case first.part == s.part && first.item == s.item:
		return fmt.Sprintf("steps.%s cannot be used here: that step runs at the same time", id)
	}
	return fmt.Sprintf("steps.%s cannot be used here: that step runs later", id)
}
