package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sbxrun/sbxrun/internal/beneath"
	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// recipeFiles stages the recipe's own files. What is the same for every case is read once.
type recipeFiles struct {
	recipe  *recipe.Recipe
	exposed *beneath.Folders
	begun   time.Time
	boxes   []boxFiles
}

// boxFiles are those of one sandbox.
type boxFiles struct {
	files []recipe.File
	fixed bool // for every case the same

	once  sync.Once
	parts []part
	err   error
}

func newRecipeFiles(r *recipe.Recipe, exposed *beneath.Folders) *recipeFiles {
	f := &recipeFiles{recipe: r, exposed: exposed, begun: time.Now(), boxes: make([]boxFiles, len(r.Sandboxes))}
	changing := slices.ContainsFunc(r.Sandboxes, func(sb recipe.Sandbox) bool { // by what runs
		return slices.ContainsFunc(sb.Mounts, func(m recipe.Mount) bool { return m.Writable })
	})
	for i := range f.boxes {
		b := &f.boxes[i]
		b.fixed = !changing
		for _, file := range r.Files {
			if file.Sandbox != "" && r.SandboxIndex(file.Sandbox) != i {
				continue
			}
			b.files = append(b.files, file)
			for _, t := range []*expr.Template{file.Src, file.Content, file.Dst, file.Mode} {
				b.fixed = b.fixed && (t == nil || t.IsLiteral())
			}
			b.fixed = b.fixed && (file.Optional == nil || file.Optional.IsLiteral())
		}
	}
	return f
}

// of returns what to stage into a sandbox on its first use.
func (f *recipeFiles) of(box int, names func() expr.Env) ([]part, error) {
	b := &f.boxes[box]
	if !b.fixed {
		return f.gather(b.files, names)
	}
	b.once.Do(func() { b.parts, b.err = f.gather(b.files, nil) })
	return b.parts, b.err
}

// gather reads files; envs are the variables that their expressions see.
func (f *recipeFiles) gather(files []recipe.File, names func() expr.Env, envs ...[]recipe.EnvVar) ([]part, error) {
	g := gather{origins: origins{f.recipe, envs}, exposed: f.exposed, names: names, now: f.begun}
	for _, file := range files {
		if err := g.add(file); err != nil {
			return nil, g.origins.blame(file.Src, fmt.Errorf("line %d: %w", file.Pos.Line, err))
		}
	}
	parts := g.to.tars()
	for i := range parts {
		if err := parts[i].pack(); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// stage puts into sandboxes what must be there before the step: the recipe's files on the first use of its sandbox (of a
// verify sandbox what was collected), then the step's own.
func (t *try) stage() outcome {
	if !t.a.stages(t.s) {
		return passed()
	}
	start := time.Now()
	defer func() { t.a.staging.Add(int64(time.Since(start))) }()
	ctx, cancel := t.patience()
	defer cancel()
	if o := t.a.firstUse(ctx, t.s.box); o.verdict != event.Passed {
		return o
	}
	if t.number > 1 && t.a.stagedStep[t.s.index] {
		return passed() // a step is tried again in the sandbox as it is
	}
	for _, f := range t.s.Files {
		if o := t.stageFile(ctx, f); o.verdict != event.Passed {
			return o
		}
	}
	t.a.stagedStep[t.s.index] = true
	return passed()
}

// stages says whether there may be something to stage for a step.
func (a *attempt) stages(s *step) bool {
	return len(s.Files) > 0 || a.part == partVerify && len(a.collected) > 0 ||
		a.part != partVerify && len(a.run.files.boxes[s.box].files) > 0
}

// firstUse stages the recipe's files into a sandbox that has none yet. Its error stays: every step there meets it.
func (a *attempt) firstUse(ctx context.Context, box int) outcome {
	b := a.boxes[box]
	b.staged.Lock()
	defer b.staged.Unlock()
	if b.isStaged {
		return b.staging
	}
	b.isStaged, b.staging = true, broken(event.ReasonInternal, "stage files", errors.New("it was not finished"))
	var parts []part
	var err error
	if a.part == partVerify {
		if parts = a.collectedParts(); len(parts) > 0 {
			b.gives()
		}
	} else {
		parts, err = a.run.files.of(box, a.names.get)
	}
	b.staging = sendParts(ctx, b, parts, err)
	return b.staging
}

// stageFile stages one item of a step's files.
func (t *try) stageFile(ctx context.Context, f recipe.File) outcome {
	to := t.s.box
	if f.Sandbox != "" {
		to = t.a.run.layout.recipe.SandboxIndex(f.Sandbox)
		if o := t.a.firstUse(ctx, to); o.verdict != event.Passed {
			return o
		}
	}
	if f.From != "" {
		return t.transfer(ctx, f, t.a.boxes[to])
	}
	parts, err := t.a.run.files.gather([]recipe.File{f}, t.env.names, t.envs()...)
	return sendParts(ctx, t.a.boxes[to], parts, err)
}

// sendParts sends what was gathered, if gathering had no error.
func sendParts(ctx context.Context, b *box, parts []part, err error) outcome {
	for i := range parts {
		if err != nil {
			break
		}
		local, sendErr := parts[i].send(ctx, b)
		if local == nil && sendErr != nil {
			return refused(ctx, b, "stage files", event.ReasonStage, sendErr)
		}
		err = local
	}
	return gathered(err)
}

// gathered is the outcome of reading files on this machine.
func gathered(err error) outcome {
	if err == nil {
		return passed()
	}
	if _, ok := errors.AsType[*expr.EvalError](err); ok {
		return failed(event.ReasonAssertion, "stage files: %v", err)
	}
	if _, ok := errors.AsType[*artifactError](err); ok {
		return failed(event.ReasonArtifact, "stage files: %v", err)
	}
	return broken(event.ReasonStage, "stage files", err)
}
