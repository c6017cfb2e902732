package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
)

const (
	runningShown = 4
	barWidth     = 20
)

// screen is the end of a terminal: lines that stay, and below them some that are drawn again and again. The cursor rests
// behind the last of these.
type screen struct {
	pending strings.Builder // lines to stay, not written yet
	drawn   []string        // the lines below, as last written
}

func (s *screen) add(text string) { s.pending.WriteString(text) }

// clear is what takes the drawn lines away and writes the pending ones.
func (s *screen) clear(width, _ int) string {
	out := ""
	if len(s.drawn) > 0 {
		rows := 0
		for _, line := range s.drawn {
			// After the terminal got narrower a line takes several rows.
			rows += max((ansi.StringWidth(line)+width-1)/width, 1)
		}
		out = "\r"
		if rows > 1 {
			out += ansi.CursorUp(rows - 1)
		}
		out += ansi.EraseScreenBelow
	}
	out += s.pending.String()
	s.pending.Reset()
	s.drawn = nil
	return out
}

// draw is what brings the terminal up to date with lines at its end.
func (s *screen) draw(lines []string, width, height int) string {
	out := s.clear(width, height)
	lines = lines[:min(len(lines), max(height-1, 1))]
	for i, line := range lines {
		// One column is left free: many terminals wrap when the last one is written.
		lines[i] = ansi.Truncate(line, max(width-1, 1), "…")
	}
	s.drawn = lines
	return out + strings.Join(lines, "\n")
}

// keepDrawn redraws until the console is closed.
func (c *Console) keepDrawn() {
	defer close(c.stopped)
	tick := time.NewTicker(redrawInterval)
	defer tick.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-tick.C:
			c.redraw()
		}
	}
}

func (c *Console) redraw() {
	c.mu.Lock()
	defer c.mu.Unlock()
	width, height := c.size()
	now := c.Now()
	lines := c.liveLines(now, height)
	if c.screen.pending.Len() == 0 && slices.Equal(lines, c.screen.drawn) {
		return
	}
	c.print(c.screen.draw(lines, width, height))
}

// liveLines are the progress and what has run longest.
func (c *Console) liveLines(now time.Time, height int) []string {
	if c.recipe == nil {
		return nil
	}
	lines := []string{c.progressLine(now)}
	var running []*openSample
	names := map[*openSample]string{}
	for key, s := range c.built.tracker.open {
		running = append(running, s)
		names[s] = fullName(key.recipe, key.id, key.sample)
	}
	slices.SortFunc(running, func(a, b *openSample) int {
		return cmp.Or(a.began.Compare(b.began), strings.Compare(names[a], names[b]))
	})
	for _, s := range running[:min(len(running), runningShown, max(height-2, 0))] {
		line := fmt.Sprintf("  %s  %s", short(names[s]), clock(now.Sub(s.began)))
		if len(s.running) > 0 {
			line += "  " + short(strings.Join(s.running, ", "))
		}
		lines = append(lines, c.style.faint(line))
	}
	return lines
}

// progressLine is how far the run is.
func (c *Console) progressLine(now time.Time) string {
	s := &c.built.summary
	total := 0
	for _, r := range s.Recipes {
		if r.Start.Total < 0 {
			total = -1
			break
		}
		total += r.Start.Total
	}
	elapsed := now.Sub(c.began)
	line := terminalLine(c.recipe.Name) + "  "
	if total > 0 {
		filled := min(s.Total*barWidth/total, barWidth)
		line += "[" + strings.Repeat("=", filled) + strings.Repeat(" ", barWidth-filled) + "]"
		line += fmt.Sprintf("  %d/%d", s.Total, total)
	} else {
		line += fmt.Sprintf("%d done", s.Total)
	}
	if s.Failed > 0 {
		line += "  " + c.style.red(fmt.Sprintf("%d failed", s.Failed))
	}
	if s.Errors > 0 {
		line += "  " + c.style.red(fmt.Sprintf("%d errors", s.Errors))
	}
	line += "  " + clock(elapsed)
	if left := total - s.Total; s.Total > 0 && left > 0 {
		line += "  ETA " + clock(time.Duration(float64(elapsed)/float64(s.Total)*float64(left)))
	}
	line += fmt.Sprintf("  %d passed", s.Passed)
	if n := len(c.built.tracker.open); n > 0 {
		line += fmt.Sprintf("  %d running", n)
	}
	return line
}

// clock is a time as h:mm:ss or m:ss.
func clock(d time.Duration) string {
	s := int(max(d, 0) / time.Second)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}
