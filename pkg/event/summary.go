package event

import (
	"encoding/json"
	"sync"
	"time"
)

// maxMeans bounds the captures of a recipe that are summed.
const maxMeans = 1000

// Counts counts samples.
type Counts struct {
	Total   int `json:"total"` // of all verdicts, also not_run
	Passed  int `json:"passed"`
	Failed  int `json:"failed"`
	Errors  int `json:"errors"`
	Skipped int `json:"skipped"`
	NotRun  int `json:"not_run"`
	Flaky   int `json:"flaky"` // of the passed: by a retry of a step
}

// PassRate is passed/(passed+failed): errors are left out. It is false where nothing was scored.
func (c Counts) PassRate() (float64, bool) { return ratio(c.Passed, c.Passed+c.Failed) }

// ErrorRate is errors/(passed+failed+errors). It is false where there is none of these.
func (c Counts) ErrorRate() (float64, bool) { return ratio(c.Errors, c.Passed+c.Failed+c.Errors) }

func ratio(part, whole int) (float64, bool) {
	if whole == 0 {
		return 0, false
	}
	return float64(part) / float64(whole), true
}

func (c *Counts) add(s *Sample) {
	c.Total++
	switch s.Verdict {
	case Passed:
		c.Passed++
	case Failed:
		c.Failed++
	case Error:
		c.Errors++
	case Skipped:
		c.Skipped++
	default:
		c.NotRun++
	}
	if s.Flaky {
		c.Flaky++
	}
}

func (c *Counts) notRun(n int) {
	c.Total += n
	c.NotRun += n
}

// Summary is the fold of a run's events, or of the events of several runs (shards) one after another. Its memory
// depends on the number of recipes, not on that of samples. The zero Summary is empty. Fields are read when no
// Add runs any more.
type Summary struct {
	Counts                    // over all recipes
	Runs     []RunStart       // one a log
	Recipes  []*RecipeSummary // in the order they began
	Start    time.Time        // of the first event
	Last     time.Time        // of the latest event
	Ends     []RunEnd         // of the runs that came to their end
	Warnings int
	Left     int // things that could not be taken down

	mu    sync.Mutex
	names map[string]*RecipeSummary
}

// RecipeSummary is the fold of one recipe's events.
type RecipeSummary struct {
	Counts
	Name         string
	Start        RecipeStart    // of the first shard; Total is the sum of all, -1 if one is not known
	Reasons      map[Reason]int // of failed and error
	InfraRetries int            // tries of samples that ended in error and were repeated
	Reused       int            // samples that ran in sandboxes used before
	Durations    Quantiles      // seconds, of samples that passed or failed
	Begin, Last  time.Time      // of the first and the latest event
	Stopped      string         // why not all samples ran; empty: they did
	Gates        []GateResult   // of the last recipe.end
	Ended        bool

	started bool
	means   map[[2]string]*mean
}

type mean struct {
	sum float64
	n   int
}

// Send is Add, so that a Summary is a Sink. It returns nil.
func (s *Summary) Send(e Event) error {
	s.Add(e)
	return nil
}

// Add takes the next event. It may be called from several goroutines.
func (s *Summary) Add(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Start.IsZero() {
		s.Start = e.Time
	}
	s.Last = later(s.Last, e.Time)
	switch e.Type {
	case TypeRunStart:
		s.Runs = append(s.Runs, *e.Run)
	case TypeRunEnd:
		s.Ends = append(s.Ends, *e.RunEnd)
	case TypeWarning:
		s.Warnings++
	case TypeLeft:
		s.Left++
	}
	if e.Recipe == "" {
		return
	}
	r := s.recipe(e)
	r.Last = later(r.Last, e.Time)
	switch e.Type {
	case TypeRecipeStart:
		r.start(*e.RecipeStart)
	case TypeInfraRetry:
		r.InfraRetries++
	case TypeSampleEnd:
		s.Counts.add(e.SampleEnd)
		r.sample(e.SampleEnd)
	case TypeRecipeEnd:
		s.notRun(e.RecipeEnd.NotRun)
		r.notRun(e.RecipeEnd.NotRun)
		r.Gates, r.Ended = e.RecipeEnd.Gates, true
		if e.RecipeEnd.Stopped != "" {
			r.Stopped = e.RecipeEnd.Stopped
		}
	}
}

// Recipe is the summary of the recipe of that name, or nil.
func (s *Summary) Recipe(name string) *RecipeSummary {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[name]
}

func (s *Summary) recipe(e Event) *RecipeSummary {
	r := s.names[e.Recipe]
	if r == nil {
		r = &RecipeSummary{Name: e.Recipe, Begin: e.Time, Reasons: map[Reason]int{}, means: map[[2]string]*mean{}}
		if s.names == nil {
			s.names = map[string]*RecipeSummary{}
		}
		s.names[e.Recipe] = r
		s.Recipes = append(s.Recipes, r)
	}
	return r
}

func (r *RecipeSummary) start(start RecipeStart) {
	total := start.Total
	if r.started {
		if total >= 0 && r.Start.Total >= 0 {
			total += r.Start.Total
		} else {
			total = -1
		}
		start = r.Start
	}
	r.Start, r.started = start, true
	r.Start.Total = total
}

func (r *RecipeSummary) sample(s *Sample) {
	r.add(s)
	if s.Reason != "" {
		r.Reasons[s.Reason]++
	}
	if s.Reused {
		r.Reused++
	}
	if s.Verdict != Passed && s.Verdict != Failed {
		return
	}
	r.Durations.Add(s.Duration)
	for _, step := range s.Steps {
		id := step.ID
		if id == "" {
			id = step.Name
		}
		for name, value := range step.Captures {
			if v, ok := number(value); ok {
				r.mean([2]string{id, name}, v)
			}
		}
	}
}

func (r *RecipeSummary) mean(key [2]string, v float64) {
	m := r.means[key]
	if m == nil {
		if len(r.means) >= maxMeans {
			return
		}
		m = &mean{}
		r.means[key] = m
	}
	m.sum += v
	m.n++
}

// Means are the means of steps.ID.NAME, by ID and NAME: over the samples that passed or failed and have it as a number, or
// as a condition (true is 1).
func (r *RecipeSummary) Means() map[string]map[string]float64 {
	means := map[string]map[string]float64{}
	for key, m := range r.means {
		if means[key[0]] == nil {
			means[key[0]] = map[string]float64{}
		}
		means[key[0]][key[1]] = m.sum / float64(m.n)
	}
	return means
}

// Duration is the p-th percentile (0 to 100) of the durations of the samples that passed or failed, in seconds; false
// where there is none.
func (r *RecipeSummary) Duration(p float64) (float64, bool) {
	return r.Durations.Percentile(p), r.Durations.N() > 0
}

// number takes what expressions and JSON make of numbers.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
