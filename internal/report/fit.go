package report

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// maxValue is the size of a case's field or a capture that a line keeps when it is too long as a whole.
const maxValue = 64 << 10

// fitting makes an event fit for a line: values that JSON does not have are null, and the largest, which say so, are left
// out until the rest fits.
type fitting struct {
	event  event.Event // a copy: the event itself is shared, and kept
	groups []*map[string]any
	values []fittingValue // the largest first
}

type fittingValue struct {
	in   map[string]any
	name string
	size int
}

func newFitting(e event.Event) *fitting {
	f := &fitting{event: e}
	if e.StepEnd != nil {
		step := *e.StepEnd
		f.event.StepEnd = &step
		f.add(&step.Captures)
	}
	if e.SampleEnd != nil {
		sample := *e.SampleEnd
		f.event.SampleEnd = &sample
		f.add(&sample.Fields)
		sample.Steps = slices.Clone(sample.Steps)
		for i := range sample.Steps {
			f.add(&sample.Steps[i].Captures)
		}
	}
	if e.RecipeStart != nil {
		start := *e.RecipeStart
		f.event.RecipeStart = &start
		f.add(&start.Vars)
	}
	slices.SortStableFunc(f.values, func(a, b fittingValue) int { return cmp.Compare(b.size, a.size) })
	for len(f.values) > 0 && f.values[0].size > maxValue {
		f.leaveOut()
	}
	return f
}

func (f *fitting) add(values *map[string]any) {
	*values = maps.Clone(*values)
	var buf bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(*values)) {
		if err := encode(&buf, (*values)[name]); err != nil {
			(*values)[name] = nil
			continue
		}
		f.values = append(f.values, fittingValue{*values, name, buf.Len() - len("\n")})
	}
	f.groups = append(f.groups, values)
}

// leaveOut leaves out the largest value that is there, and returns by how many bytes less it is.
func (f *fitting) leaveOut() int {
	v := f.values[0]
	f.values = f.values[1:]
	note := fmt.Sprintf("(left out: %d bytes)", v.size)
	v.in[v.name] = note
	return v.size - len(note) - len(`""`)
}

// shrink leaves out what makes the line longer than it may be by over bytes. It returns false where nothing is left for
// that.
func (f *fitting) shrink(over int) bool {
	for len(f.values) > 0 && f.values[0].size > minValue {
		if over -= f.leaveOut(); over <= 0 {
			return true
		}
	}
	if f.groups == nil {
		return false
	}
	for _, values := range f.groups { // so many that their names are too much
		if n := len(*values); n > 0 {
			*values = map[string]any{"(left out)": fmt.Sprintf("%d values", n)}
		}
	}
	f.groups, f.values = nil, nil
	return true
}

// minValue is the size of a value that nothing is gained by leaving out.
const minValue = 32
