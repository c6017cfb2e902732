package executor

import (
	"fmt"
	"strconv"
	"sync"

	"github.com/sbxrun/sbxrun/internal/beneath"
	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/plan"
	"github.com/sbxrun/sbxrun/pkg/recipe"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// specs makes the specs of samples' sandboxes. Those that are the same for every case are evaluated once.
type specs struct {
	plan    *plan.Plan
	layout  *layout
	fixed   []*wanted      // by sandbox; nil where it depends on the case
	warner  sandbox.Warner // nil: the provider has no warnings
	events  *events
	exposed *beneath.Folders

	mu     sync.Mutex
	warned map[string]bool
}

// newSpecs evaluates what does not depend on the case, and has the warnings about it sent. The error is one of the
// recipe that every sample would meet.
func newSpecs(p *plan.Plan, l *layout, provider sandbox.Provider, ev *events, exposed *beneath.Folders) (*specs, error) {
	s := &specs{plan: p, layout: l, exposed: exposed, fixed: make([]*wanted, len(l.recipe.Sandboxes)), events: ev, warned: map[string]bool{}}
	s.warner, _ = provider.(sandbox.Warner)
	for i := range l.recipe.Sandboxes {
		if !fixedSpec(&l.recipe.Sandboxes[i]) {
			continue
		}
		spec, err := p.SandboxSpec(l.recipe.Sandboxes[i], p.Env(plan.Case{}, 1, ""))
		if err != nil {
			return nil, err
		}
		s.fixed[i] = &wanted{spec, s.sort(spec), true}
		s.warn(spec)
	}
	return s, nil
}

// warn sends what is not as asked of a spec, each line once.
func (s *specs) warn(spec sandbox.Spec) {
	var lines []string
	if s.warner != nil {
		lines = s.warner.Warnings(spec)
	}
	if why := unfitForReuse(spec); why != "" && s.plan.Pool.Reuse == reuseReset {
		lines = append(lines, fmt.Sprintf("pool.reuse: sandbox %s %s: every sample gets a new one", spec.Name, why))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range lines {
		if !s.warned[line] {
			s.warned[line] = true
			s.events.send(event.Event{Type: event.TypeWarning, Message: line})
		}
	}
}

// wanted is a sandbox to acquire.
type wanted struct {
	sandbox.Spec
	sort  string // see sortOf; empty where no sandbox is used again
	fixed bool   // it is the same for every sample, but for Group and Labels
}

func (s *specs) sort(spec sandbox.Spec) string {
	if s.plan.Pool.Reuse != reuseReset {
		return ""
	}
	return sortOf(spec)
}

// make returns the specs of the sandboxes with these indexes, for a sample.
func (s *specs) make(boxes []int, group string, caseID string, sample int, names func() expr.Env) ([]wanted, error) {
	labels := map[string]string{"recipe": s.events.recipe, "case": caseID, "sample": strconv.Itoa(sample)}
	all := make([]wanted, len(boxes))
	for i, box := range boxes {
		if fixed := s.fixed[box]; fixed != nil {
			all[i] = *fixed
		} else {
			spec, err := s.plan.SandboxSpec(s.layout.recipe.Sandboxes[box], names())
			if err != nil {
				return nil, err
			}
			s.warn(spec)
			all[i] = wanted{spec, s.sort(spec), false}
		}
		all[i].Group, all[i].Labels = group, labels
		s.expose(all[i].Local.Mounts)
	}
	return all, nil
}

// expose notes what a sandbox that is about to be made can write to.
func (s *specs) expose(mounts []sandbox.Mount) {
	for _, m := range mounts {
		if m.Writable {
			_ = s.exposed.Add(m.Source) // one that is not there is the provider's to report
		}
	}
}

// fixedSpec says whether a sandbox is the same for every case.
func fixedSpec(s *recipe.Sandbox) bool {
	for _, t := range []*expr.Template{
		s.WarmPool, s.Template, s.Image, s.Rootfs, s.Limits.CPU, s.Limits.Memory, s.Limits.PIDs, s.Limits.Disk,
		s.Limits.Inodes, s.Limits.Files, s.Limits.Output,
	} {
		if t != nil && !t.IsLiteral() {
			return false
		}
	}
	for _, v := range []*expr.Value{s.Spec, s.Labels, s.PodLabels, s.PodAnnotations, s.Volumes} {
		if v != nil && !v.IsLiteral() {
			return false
		}
	}
	for _, m := range s.Mounts {
		if m.Src != nil && !m.Src.IsLiteral() || m.Dst != nil && !m.Dst.IsLiteral() {
			return false
		}
	}
	return true
}
