package executor

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/recipe"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
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
	c := &collection{box: b, x: &extraction{to: a.artifactDir(box), mask: a.run.mask}}
	defer c.x.close()
	var wishes []*wish
	for _, item := range items {
		glob, err := pathText(item.Src, a.names.get)
		if err != nil {
			return failed(event.ReasonAssertion, "%s: %v", what, err)
		}
		if err := climbs(glob); err != nil {
			c.x.refuse("%v", err)
			continue
		}
		wishes = append(wishes, &wish{Collect: item, glob: glob})
	}
	if !b.isStaged { // no step has used it
		if o := a.firstUse(ctx, box); o.verdict != event.Passed {
			return o
		}
	}
	for _, absolute := range []bool{false, true} { // apart, since Receive gives both the same names
		same := slices.DeleteFunc(slices.Clone(wishes), func(w *wish) bool { return w.glob == "" || path.IsAbs(w.glob) != absolute })
		if err := c.take(ctx, same); err != nil {
			return refused(ctx, b, what, event.ReasonCollect, err)
		}
	}
	if err := c.x.links(); err != nil {
		return broken(event.ReasonCollect, what, err)
	}
	if len(a.run.layout.verify) > 0 {
		a.collected = append(a.collected, c.x.taken...)
	}
	if len(c.x.refused) > 0 {
		return failed(event.ReasonArtifact, "%s: %s", what, told(c.x.refused, c.x.more))
	}
	var missing []string
	line := 0
	for _, w := range wishes {
		if w.settled {
			continue
		}
		optional, err := truth(w.Optional, a.names.get)
		if err != nil {
			o := failed(event.ReasonAssertion, "%s: optional: %v", what, err)
			o.line = w.Pos.Line
			return o
		}
		if optional {
			continue
		}
		if line == 0 {
			line = w.Pos.Line
		}
		missing = append(missing, w.missing())
	}
	if len(missing) == 0 {
		return passed()
	}
	o := failed(event.ReasonArtifact, "%s: %s", what, strings.Join(missing, "; "))
	o.line = line
	return o
}

// collection takes artifacts out of one sandbox.
type collection struct {
	box  *box
	x    *extraction
	left *allowance // of all streams together, nil before the first
}

// wish is one item of collect.
type wish struct {
	recipe.Collect
	glob    string
	link    bool // the path is that of a symbolic link
	settled bool // something was found, or refused
}

func (w *wish) missing() string {
	switch {
	case w.glob == "": // which would be the whole workspace
		return "src is empty"
	case w.link:
		return w.glob + " is a symbolic link that leads nowhere"
	}
	return "nothing matches " + w.glob
}

// take takes what the wishes name, which are all relative or all absolute, and sorts them. A path that is no glob may be a
// symbolic link, or go through one: it is followed, and what is there taken under the name that was asked for.
func (c *collection) take(ctx context.Context, wishes []*wish) error {
	if len(wishes) == 0 {
		return nil
	}
	r, err := c.receive(ctx, wishes)
	if err != nil {
		return err
	}
	if err := c.extract(r, wishes, "", ""); err != nil {
		return err
	}
	slices.SortFunc(wishes, func(a, b *wish) int { return strings.Compare(a.glob, b.glob) }) // a folder before what is in it
	for _, w := range wishes {
		if w.settled || isGlob(w.glob) {
			continue
		}
		at, err := c.box.real(ctx, w.glob)
		switch {
		case err != nil && unreceivable(err):
			c.x.refuse("%s: %v", w.glob, cause(err))
			continue
		case err != nil:
			return err
		case at == "":
			continue
		case path.IsAbs(at) && !path.IsAbs(w.glob):
			c.x.refuse("%q leads out of the workspace, to %q", w.glob, at)
			continue
		}
		w.link = false // it leads somewhere
		r, err := c.box.receive(ctx, sandbox.EscapeGlob(at))
		if err != nil {
			return err
		}
		if err := c.extract(r, wishes, streamName(at), streamName(w.glob)); err != nil {
			return err
		}
	}
	return nil
}

// receive opens a stream of what is wished for, but for what the provider refuses to give.
func (c *collection) receive(ctx context.Context, wishes []*wish) (*tarReader, error) {
	var globs []string
	for _, w := range wishes {
		globs = append(globs, w.glob)
	}
	r, err := c.box.receive(ctx, globs...)
	if err == nil || !unreceivable(err) {
		return r, err
	}
	globs = nil
	for _, w := range wishes {
		r, err := c.box.receive(ctx, w.glob)
		switch {
		case err == nil:
			r.Close()
			globs = append(globs, w.glob)
		case unreceivable(err):
			w.settled = true
			c.x.refuse("%v", cause(err))
		default:
			return nil, err
		}
	}
	return c.box.receive(ctx, globs...)
}

// unreceivable says of an error of receiving that it is about what was asked for, and what is there.
func unreceivable(err error) bool {
	_, unfit := errors.AsType[*artifactError](err)
	return unfit || sandbox.KindOf(err) == sandbox.KindInvalid
}

// extract takes the entries of a stream; what is at from, or below it, is named to instead. The symbolic links that wishes
// name are left to be followed.
func (c *collection) extract(r *tarReader, wishes []*wish, from, to string) error {
	defer r.Close()
	if c.left == nil {
		c.left = r.left
	}
	r.left = c.left
	for {
		h, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if to != "" {
			h.Name = path.Join(to, within(from, path.Clean(h.Name)))
		}
		name := path.Clean(h.Name)
		if h.Typeflag == tar.TypeSymlink && isNamed(wishes, name) {
			continue
		}
		if err := c.x.take(h, r); err != nil {
			return err
		}
		if h.Typeflag != tar.TypeDir {
			markMatches(wishes, name)
		}
	}
}

// isNamed says whether a wish is the name of this symbolic link, and notes it.
func isNamed(wishes []*wish, name string) (named bool) {
	for _, w := range wishes {
		if !isGlob(w.glob) && streamName(w.glob) == name {
			w.link, named = true, true
		}
	}
	return named
}

// told joins what was refused, and how many more there were.
func told(lines []string, more int) string {
	text := strings.Join(lines, "; ")
	if more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// markMatches notes which wishes a name of the stream comes from: it matches, or lies in a folder that does.
func markMatches(wishes []*wish, name string) {
	for _, w := range wishes {
		if w.settled {
			continue
		}
		pattern := streamName(w.glob)
		for at := name; at != "." && at != "/"; at = path.Dir(at) {
			if ok, _ := doublestar.Match(pattern, at); ok || pattern == "." || pattern == "" { // a bad pattern is the provider's to report
				w.settled = true
				break
			}
		}
	}
}
