package executor

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// maxTold is how many files that were not taken a message names.
const maxTold = 10

// collect takes artifacts out of the sandboxes, all of a sandbox's in one stream. It returns the worst that happened;
// what could be taken is taken.
func (a *attempt) collect(ctx context.Context) outcome {
	worst := passed()
	for i, items := range a.run.layout.collects {
		if len(items) == 0 || a.boxes[i].gone() {
			continue // why it is gone is a failure, or an error, already
		}
		o := a.collectFrom(ctx, i, items)
		if o.line == 0 {
			o.line = items[0].Pos.Line
		}
		if worse(o.verdict, worst.verdict) {
			worst = o
		}
	}
	return worst
}

func (a *attempt) collectFrom(ctx context.Context, box int, items []recipe.Collect) outcome {
	b := a.boxes[box]
	what := "collect from sandbox " + a.boxName(box)
	globs := make([]string, len(items))
	for i, item := range items {
		var err error
		if globs[i], err = text(item.Src, a.names.get); err != nil {
			return failed(event.ReasonAssertion, "%s: %v", what, err)
		}
	}
	if !b.isStaged { // no step has used it
		if o := a.firstUse(ctx, box); o.verdict != event.Passed {
			return o
		}
	}
	stream, err := b.sb.Receive(ctx, globs)
	if err != nil {
		return refused(ctx, b, what, event.ReasonCollect, err)
	}
	defer stream.Close()
	x := &extraction{to: a.artifactDir(box), mask: a.run.events.mask}
	defer x.close()
	found := make([]bool, len(globs))
	r := newTarReader(stream, b.spec.Limits.WithDefaults())
	for {
		h, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = x.take(h, r)
		}
		if err != nil {
			return refused(ctx, b, what, event.ReasonCollect, err)
		}
		if h.Typeflag != tar.TypeDir {
			markMatches(globs, found, h.Name)
		}
	}
	if err := x.links(); err != nil {
		return broken(event.ReasonCollect, what, err)
	}
	if len(a.run.layout.verify) > 0 {
		a.collected = append(a.collected, x.taken...)
	}
	if len(x.refused) > 0 {
		return failed(event.ReasonArtifact, "%s: %s", what, told(x.refused, x.more))
	}
	var missing []string
	line := 0
	for i, item := range items {
		if found[i] || item.Optional {
			continue
		}
		if line == 0 {
			line = item.Pos.Line
		}
		missing = append(missing, fmt.Sprintf("nothing matches %s", globs[i]))
	}
	if len(missing) == 0 {
		return passed()
	}
	o := failed(event.ReasonArtifact, "%s: %s", what, strings.Join(missing, "; "))
	o.line = line
	return o
}

// told joins what was refused, and how many more there were.
func told(lines []string, more int) string {
	text := strings.Join(lines, "; ")
	if more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// markMatches notes which globs a name of the stream comes from: it matches, or lies in a folder that does.
func markMatches(globs []string, found []bool, name string) {
	name = path.Clean(name)
	for i, glob := range globs {
		if found[i] {
			continue
		}
		pattern := strings.TrimPrefix(path.Clean(glob), "/")
		for at := name; at != "." && at != "/"; at = path.Dir(at) {
			if ok, _ := doublestar.Match(pattern, at); ok || pattern == "." { // a bad pattern is the provider's to report
				found[i] = true
				break
			}
		}
	}
}
