package report

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/sbxrun/sbxrun/pkg/event"
)

const (
	redrawInterval   = 100 * time.Millisecond
	progressInterval = 30 * time.Second // of plain progress lines
	failuresShown    = 50               // as they happen
	sameCauseShown   = 3
)

// ConsoleOptions say how a run is shown.
type ConsoleOptions struct {
	Out io.Writer
	// Live redraws the last lines with what runs now; else there are only lines that stay.
	Live bool
	// Color allows colours.
	Color bool
	// GitHub says that Out is the log of a GitHub Actions job: no text that a sandbox could have written is read as a
	// command there, and failures are annotated.
	GitHub bool
	// Size is the terminal's now, for Live; nil is 80 by 24.
	Size func() (width, height int)
	// Quiet shows only what went wrong, in short. Verbose shows every sample and step.
	Quiet, Verbose bool
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Leave is closed when the run is to end soon: from then on a reader of Out who does not read is not waited for. It may be
	// nil.
	Leave <-chan struct{}
}

// DetectConsole says how to show a run on out, in this environment (NO_COLOR, TERM, CI, GITHUB_ACTIONS).
func DetectConsole(out *os.File, getenv func(string) string) ConsoleOptions {
	fd := int(out.Fd())
	able := term.IsTerminal(fd) && getenv("TERM") != "dumb" && getenv("TERM") != ""
	return ConsoleOptions{
		Out:    out,
		Live:   able && getenv("CI") == "",
		Color:  able && getenv("NO_COLOR") == "",
		GitHub: getenv("GITHUB_ACTIONS") == "true",
		Size: func() (int, int) {
			w, h, err := term.GetSize(fd)
			if err != nil {
				return 0, 0
			}
			return w, h
		},
	}
}

// Console shows a run while it goes on, and what came of it at the end. Nothing that a sandbox, a recipe or data say
// reaches the terminal but as text. Its memory does not grow with the number of samples.
type Console struct {
	ConsoleOptions
	style style

	mu           sync.Mutex
	built        builder
	began        time.Time
	lastProgress time.Time
	recipe       *event.RecipeSummary // the last that began
	shown        map[causeKey]int     // failures that were shown as they happened
	failures     int
	warnings     int // shown
	token        string
	printed      bool // something
	screen       screen
	err          error

	stop, stopped chan struct{}
}

// NewConsole starts to show a run.
func NewConsole(o ConsoleOptions) *Console {
	c := newConsole(o)
	if o.Live && !o.Quiet {
		c.stop, c.stopped = make(chan struct{}), make(chan struct{})
		go c.keepDrawn()
	}
	return c
}

func newConsole(o ConsoleOptions) *Console {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Leave != nil {
		o.Out = leaving{o.Out, o.Leave}
	}
	c := &Console{ConsoleOptions: o, style: style(o.Color), began: o.Now(), lastProgress: o.Now(), shown: map[causeKey]int{}}
	if o.GitHub {
		c.token = rand.Text()
		c.print("::stop-commands::" + c.token + "\n")
	}
	return c
}

// Send shows the event. That it cannot be shown is told by Close: it is no reason to stop a run.
func (c *Console) Send(e event.Event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.built.add(e)
	switch e.Type {
	case event.TypeRunStart:
		c.built.dir = relative(e.Run.Cwd, e.Run.Dir)
	case event.TypeRecipeStart:
		c.recipe = c.built.summary.Recipe(e.Recipe)
	}
	if c.Quiet {
		return nil
	}
	text := c.lines(e, o)
	if c.Live {
		c.screen.add(text)
		return nil
	}
	c.print(text + c.progress())
	return nil
}

// Note shows a line about the run itself at once, such as that it was interrupted. It is false if there is no live display
// that the line would have to go through: then the caller may write to the standard error.
func (c *Console) Note(line string) bool {
	if !c.Live {
		return false
	}
	c.mu.Lock()
	c.screen.add(line + "\n")
	c.mu.Unlock()
	c.redraw()
	return true
}

// Show shows what came of a run that was recorded, and where its reports are, instead of the events that were sent.
func (c *Console) Show(l *Log, reports ...string) error { return c.finish(l.Report(), reports) }

// Close shows what came of the run and where the reports are, and returns the first error of the writer. Nothing is sent
// after it.
func (c *Console) Close(reports ...string) error {
	if c.stop != nil {
		close(c.stop)
		<-c.stopped
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.print(c.screen.clear(c.size()))
	return c.finish(c.built.report(), reports)
}

func (c *Console) finish(r *Report, reports []string) error {
	text := c.final(r, reports)
	if !c.printed {
		text = strings.TrimLeft(text, "\n")
	}
	c.print(text)
	if c.GitHub {
		c.print("::" + c.token + "::\n")
		if c.err == nil {
			c.err = annotate(c.Out, r)
		}
	}
	if c.err != nil && !errors.Is(c.err, syscall.EPIPE) && !errors.Is(c.err, errUnread) { // nobody reads it any more
		return fmt.Errorf("write to the console: %w", c.err)
	}
	return nil
}

func (c *Console) print(text string) {
	if text == "" || c.err != nil {
		return
	}
	c.printed = true
	_, c.err = io.WriteString(c.Out, text)
}

// size is that of the terminal, or a usual one.
func (c *Console) size() (width, height int) {
	if c.Size != nil {
		width, height = c.Size()
	}
	if width <= 0 || height <= 0 {
		return 80, 24
	}
	return width, height
}
