package report

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// Log is a recorded run, or several (shards) as one. It can be read as often as reports need it and keeps nothing of it
// but its Report and Summary.
type Log struct {
	parts  []*part
	built  builder
	spans  map[string][]span
	suites map[string]*junitSuite // by recipe: JUnit's counts precede what they count
	exit   *int                   // what SetExit said
}

// part is one events.jsonl.
type part struct {
	path string // of the file
	dir  string // the run's folder, absolute: paths of streams and artifacts start there
	end  int64  // what is written to it later is not of this Log
}

// span is where in a part the events of a recipe are.
type span struct {
	part     *part
	from, to int64
}

// located is an event and the log it is in.
type located struct {
	event.Event
	part *part
}

// Open reads through the logs of runs: folders of runs, or files of events. It is an error where a line that is not the
// last is no event, where a sample is in them twice, or where two recipes have the same name.
func Open(paths ...string) (*Log, error) {
	l := &Log{spans: map[string][]span{}, suites: map[string]*junitSuite{}}
	var seen rows
	digests := map[string]located{}
	for _, path := range paths {
		p, err := findPart(path)
		if err != nil {
			return nil, err
		}
		l.parts = append(l.parts, p)
		l.built.dir = p.dir
		if cwd, err := os.Getwd(); err == nil {
			l.built.dir = relative(cwd, p.dir)
		}
		runs := len(l.built.summary.Runs)
		if err := l.scan(p, &seen, digests); err != nil {
			return nil, err
		}
		if len(l.built.summary.Runs) == runs {
			return nil, fmt.Errorf("%s holds no run: it has no event %s", p.path, event.TypeRunStart)
		}
	}
	if err := l.refuseTwice(&seen); err != nil {
		return nil, err
	}
	for _, o := range l.unfinished(&l.built.tracker) {
		l.count(o)
	}
	return l, nil
}

func findPart(path string) (*part, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	file := path
	if info.IsDir() {
		file = filepath.Join(path, "events.jsonl")
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s holds no run: it has no events.jsonl", path)
		}
	}
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	return &part{path: file, dir: dir}, nil
}

// scan reads a part for the first time.
func (l *Log) scan(p *part, seen *rows, digests map[string]located) error {
	f, err := os.Open(p.path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := event.NewReader(f)
	l.built.tracker = tracker{}
	for {
		from := r.Offset()
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.path, err)
		}
		p.end = r.Offset()
		if o := l.built.add(e); o != nil {
			l.count(o)
		}
		if e.Recipe == "" {
			continue
		}
		l.extend(e.Recipe, p, from, p.end)
		switch e.Type {
		case event.TypeRecipeStart:
			first, ok := digests[e.Recipe]
			if !ok {
				digests[e.Recipe] = located{e, p}
			} else if first.RecipeStart.Digest != e.RecipeStart.Digest {
				return fmt.Errorf("%s and %s have different recipes of the name %q (%s and %s): what is merged must be of one recipe, with the same data and variables",
					first.part.path, p.path, e.Recipe, first.RecipeStart.File, e.RecipeStart.File)
			}
		case event.TypeSampleEnd:
			seen.add(e)
		}
	}
}

func (l *Log) extend(recipe string, p *part, from, to int64) {
	spans := l.spans[recipe]
	if n := len(spans); n > 0 && spans[n-1].part == p {
		spans[n-1].to = to
		return
	}
	l.spans[recipe] = append(spans, span{p, from, to})
}

// refuseTwice finds samples that are there twice. Hashes only say where to look.
func (l *Log) refuseTwice(seen *rows) error {
	suspects := seen.twice()
	if len(suspects) == 0 {
		return nil
	}
	type row struct {
		recipe, id string
		sample     int
	}
	where := map[row]*part{}
	for e, err := range l.all() {
		if err != nil {
			return err
		}
		if e.Type != event.TypeSampleEnd || !suspects[seen.hash(e.Event)] {
			continue
		}
		k := row{e.Recipe, e.Case, e.Sample}
		if first := where[k]; first != nil {
			return fmt.Errorf("recipe %q, case %q, sample %d is there twice: in %s and in %s", k.recipe, k.id, k.sample, first.path, e.part.path)
		}
		where[k] = e.part
	}
	return nil
}

// Summary is the fold of all events.
func (l *Log) Summary() *event.Summary { return &l.built.summary }

// MissingShards names the shards that are not there though others of the same run are, such as 2/3.
func (l *Log) MissingShards() []string {
	count := 0
	there := map[string]bool{}
	for _, run := range l.built.summary.Runs {
		if _, n, ok := strings.Cut(run.Shard, "/"); ok {
			of, _ := strconv.Atoi(n)
			count = max(count, of)
			there[run.Shard] = true
		}
	}
	var missing []string
	for i := 1; i <= count && len(missing) < 100; i++ {
		if name := fmt.Sprintf("%d/%d", i, count); !there[name] {
			missing = append(missing, name)
		}
	}
	return missing
}

// unfinished are the samples of t that did not end. Of merged runs they are left out: another one may have them.
func (l *Log) unfinished(t *tracker) []*outcome {
	if len(l.parts) > 1 {
		return nil
	}
	return t.unfinished()
}

// all are the events of all parts, one part after the other.
func (l *Log) all(skip ...event.Type) iter.Seq2[located, error] {
	spans := make([]span, 0, len(l.parts))
	for _, p := range l.parts {
		spans = append(spans, span{p, 0, p.end})
	}
	return walk(spans, skip...)
}

// recipe are the events of one recipe that say how samples ended.
func (l *Log) recipe(name string) iter.Seq2[located, error] {
	return func(yield func(located, error) bool) {
		for e, err := range walk(l.spans[name], event.TypeSampleStart, event.TypeStepStart) {
			if err == nil && e.Recipe != name { // another one's, between this one's
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func walk(spans []span, skip ...event.Type) iter.Seq2[located, error] {
	return func(yield func(located, error) bool) {
		for _, s := range spans {
			if !s.walk(skip, yield) {
				return
			}
		}
	}
}

func (s span) walk(skip []event.Type, yield func(located, error) bool) bool {
	f, err := os.Open(s.part.path)
	if err != nil {
		yield(located{}, err)
		return false
	}
	defer f.Close()
	r := event.NewReader(io.NewSectionReader(f, s.from, s.to-s.from))
	r.Skip(skip...)
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return true
		}
		if err != nil {
			yield(located{}, fmt.Errorf("%s, from byte %d: %w", s.part.path, s.from, err))
			return false
		}
		if !yield(located{e, s.part}, nil) {
			return false
		}
	}
}
