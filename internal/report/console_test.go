package report

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// replay shows a recorded run with the clock of its events.
func replay(t *testing.T, name string, o ConsoleOptions, after func(*Console)) string {
	t.Helper()
	var out bytes.Buffer
	now := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	o.Now = func() time.Time { return now }
	if o.Out == nil {
		o.Out = &out
	}
	c := newConsole(o)
	for e, err := range open(t, recorded(name)...).all() {
		if err != nil {
			t.Fatal(err)
		}
		now = e.Time
		if err := c.Send(e.Event); err != nil {
			t.Fatal(err)
		}
		if after != nil {
			after(c)
		}
	}
	if err := c.Close("out/report.json", "out/junit.xml"); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestConsole(t *testing.T) {
	for _, name := range []string{"cases", "steps", "killed"} {
		for _, mode := range []struct {
			name string
			o    ConsoleOptions
		}{
			{"plain", ConsoleOptions{}},
			{"color", ConsoleOptions{Color: true}},
			{"verbose", ConsoleOptions{Verbose: true}},
			{"quiet", ConsoleOptions{Quiet: true}},
			{"github", ConsoleOptions{GitHub: true}},
		} {
			t.Run(name+"/"+mode.name, func(t *testing.T) {
				text := replay(t, name, mode.o, nil)
				checkSafe(t, text, mode.o.Color)
				if mode.o.GitHub {
					text = hideToken(t, text)
				}
				golden(t, name+"."+mode.name+".txt", []byte(text))
			})
		}
	}
}

// checkSafe finds what a terminal would take for something else than text: only colours may be there, where asked for.
func checkSafe(t *testing.T, text string, color bool) {
	t.Helper()
	if color {
		text = regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(text, "")
	}
	for _, r := range text {
		if r < 0x20 && r != '\n' && r != '\t' || 0x7f <= r && r < 0xa0 || isBidi(r) {
			t.Errorf("the text has %q", r)
		}
	}
}

// hideToken checks that all but the annotations is between the lines that stop commands.
func hideToken(t *testing.T, text string) string {
	t.Helper()
	m := regexp.MustCompile(`^::stop-commands::([A-Z0-9]{20,})\n`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("commands are not stopped:\n%s", text)
	}
	_, after, ok := strings.Cut(text, "\n::"+m[1]+"::\n")
	if !ok {
		t.Fatalf("commands are not allowed again:\n%s", text)
	}
	for line := range strings.Lines(after) {
		if !strings.HasPrefix(line, "::error ") {
			t.Errorf("after the token: %q", line)
		}
	}
	return strings.ReplaceAll(text, m[1], "TOKEN")
}

func TestConsoleLive(t *testing.T) {
	var frames strings.Builder
	for _, size := range []struct{ width, height int }{{100, 30}, {40, 4}} {
		s := &fakeTerminal{width: size.width}
		o := ConsoleOptions{Out: s, Live: true, Color: true, Size: func() (int, int) { return size.width, size.height }}
		last := ""
		replay(t, "cases", o, func(c *Console) {
			c.redraw()
			if text := s.String(); text != last && len(last)%3 == 0 { // some of the frames
				fmt.Fprintf(&frames, "----- %dx%d\n%s\n", size.width, size.height, text)
			}
			last = s.String()
			if n := len(c.screen.drawn); n >= size.height {
				t.Errorf("%d lines are redrawn on %d", n, size.height)
			}
			for _, line := range c.screen.drawn {
				if w := ansi.StringWidth(line); w >= size.width {
					t.Errorf("%d columns on %d: %q", w, size.width, line)
				}
			}
		})
		fmt.Fprintf(&frames, "----- %dx%d, closed\n%s\n", size.width, size.height, s.String())
	}
	golden(t, "cases.live.txt", []byte(frames.String()))
}

// Nothing stays of the lines that are drawn again and again, also if the terminal got narrower between.
func TestConsoleResize(t *testing.T) {
	s := &fakeTerminal{width: 100}
	o := ConsoleOptions{Out: s, Live: true, Size: func() (int, int) { return s.width, 30 }}
	n := 0
	replay(t, "cases", o, func(c *Console) {
		c.redraw()
		n++
		s.resize([]int{100, 30, 61, 17}[n%4])
	})
	s.resize(100)
	text := s.String()
	if strings.Contains(text, "ETA") || strings.Contains(text, "[==") || strings.Contains(text, "running") {
		t.Errorf("progress stays on the screen:\n%s", text)
	}
	for _, want := range []string{"FAIL  word-count/b  500ms", "ERROR 3 of 9 passed"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is not there once:\n%s", want, text)
		}
	}
}

// fakeTerminal knows what a Console writes to one: text, newlines, carriage returns, the cursor up, erasing what follows.
type fakeTerminal struct {
	width    int
	rows     [][]string // of cells
	wrapped  []bool     // rows that go on in the next one
	row, col int
}

func (s *fakeTerminal) cells(row int) *[]string {
	for len(s.rows) <= row {
		s.rows = append(s.rows, nil)
		s.wrapped = append(s.wrapped, false)
	}
	return &s.rows[row]
}

func (s *fakeTerminal) Write(p []byte) (int, error) {
	state, text := ansi.NormalState, string(p)
	for len(text) > 0 {
		seq, width, n, next := ansi.DecodeSequence(text, state, nil)
		state, text = next, text[n:]
		s.cells(s.row)
		switch {
		case seq == "\n":
			s.row, s.col = s.row+1, 0
		case seq == "\r":
			s.col = 0
		case seq == ansi.EraseScreenBelow:
			s.rows[s.row] = s.rows[s.row][:min(s.col, len(s.rows[s.row]))]
			s.rows, s.wrapped = s.rows[:s.row+1], s.wrapped[:s.row+1]
			s.wrapped[s.row] = false
		case strings.HasPrefix(seq, "\x1b[") && strings.HasSuffix(seq, "A"):
			up := 1
			fmt.Sscanf(seq, "\x1b[%dA", &up)
			s.row -= up
			if s.row < 0 {
				return 0, errors.New("above the top of the screen")
			}
		case strings.HasPrefix(seq, "\x1b[") && strings.HasSuffix(seq, "m"):
		case width == 0 && seq < " " || strings.HasPrefix(seq, "\x1b"):
			return 0, fmt.Errorf("unexpected %q", seq)
		default:
			if s.col+width > s.width {
				s.wrapped[s.row] = true
				s.row, s.col = s.row+1, 0
			}
			line := s.cells(s.row)
			for len(*line) < s.col+max(width, 1) {
				*line = append(*line, "")
			}
			(*line)[s.col] += seq
			s.col += width
		}
	}
	return len(p), nil
}

// resize lays the text out again, as terminals do.
func (s *fakeTerminal) resize(width int) {
	old := *s
	*s = fakeTerminal{width: width}
	for i, row := range old.rows {
		s.Write([]byte(strings.Join(row, "")))
		if i < len(old.rows)-1 && !old.wrapped[i] {
			s.Write([]byte("\n"))
		}
	}
}

func (s *fakeTerminal) String() string {
	var lines []string
	for _, row := range s.rows {
		lines = append(lines, strings.TrimRight(strings.Join(row, ""), " "))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// What comes again and again is shown a few times as it happens and counted at the end; a rare cause is not lost in it.
func TestConsoleManyFailures(t *testing.T) {
	var out bytes.Buffer
	c := newConsole(ConsoleOptions{Out: &out})
	c.Send(event.Event{Type: event.TypeRunStart, Run: &event.RunStart{}})
	c.Send(event.Event{Type: event.TypeRecipeStart, Recipe: "r", RecipeStart: &event.RecipeStart{HasCases: true, Total: 30_000, File: "r.yaml"}})
	fail := func(i int, message string) {
		c.Send(event.Event{Type: event.TypeSampleEnd, Recipe: "r", Case: fmt.Sprint("case", i), Sample: 1,
			SampleEnd: &event.Sample{Verdict: event.Failed, Reason: event.ReasonAssertion, Message: message}})
	}
	for i := range 10_000 {
		fail(i, fmt.Sprintf("case%d: exit status %d, want 0", i, i%3+1))
		fail(i, "odd: "+strings.Repeat(string(rune('a'+i%26)), i/26+1))
		if i == 5000 {
			fail(i, "rare")
		}
	}
	c.Send(event.Event{Type: event.TypeRunEnd, RunEnd: &event.RunEnd{Exit: 1}})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if n := strings.Count(text, "\n"); n > 150 {
		t.Errorf("%d lines", n)
	}
	_, first, _ := strings.Cut(text, "\n\n")
	if !strings.Contains(first[:200], "exit status 1, want 0") || !strings.Contains(first, "9999 more with the same cause: case1, case2") {
		t.Errorf("the root cause is not first:\n%s", first[:500])
	}
	if !strings.Contains(text, "FAIL 0 of 20001 passed, 20001 failed") || !strings.Contains(text, "more failed for other causes; results.jsonl has them all") {
		t.Errorf("the end:\n%s", text[len(text)-300:])
	}
}

// A console that cannot be written does not stop the run, and says so at the end.
func TestConsoleBroken(t *testing.T) {
	broken := errors.New("broken pipe")
	c := newConsole(ConsoleOptions{Out: brokenWriter{broken}, GitHub: true})
	if err := c.Send(event.Event{Type: event.TypeWarning, Message: "w"}); err != nil {
		t.Error(err)
	}
	if err := c.Close(); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

// The drawing goroutine and senders work at the same time, and Close ends the drawing.
func TestConsoleConcurrent(t *testing.T) {
	s := &fakeTerminal{width: 80}
	c := NewConsole(ConsoleOptions{Out: s, Live: true})
	c.Send(event.Event{Type: event.TypeRunStart, Run: &event.RunStart{}})
	c.Send(event.Event{Type: event.TypeRecipeStart, Recipe: "r", RecipeStart: &event.RecipeStart{HasCases: true, Total: 4000}})
	done := make(chan struct{})
	for g := range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range 1000 {
				e := event.Event{Type: event.TypeSampleStart, Recipe: "r", Case: fmt.Sprint(g, "-", i), Sample: 1}
				c.Send(e)
				e.Type, e.SampleEnd = event.TypeSampleEnd, &event.Sample{Verdict: event.Passed}
				c.Send(e)
			}
			c.redraw()
		}()
	}
	for range 4 {
		<-done
	}
	c.Send(event.Event{Type: event.TypeRunEnd, RunEnd: &event.RunEnd{}})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if text := s.String(); !strings.HasPrefix(text, "r: 4000 samples, 1 at a time\n") || !strings.Contains(text, "PASS 4000 of 4000 passed") || strings.Contains(text, "[=") {
		t.Errorf("the screen:\n%s", text)
	}
}

func TestPlainProgress(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	c := newConsole(ConsoleOptions{Out: &out, Now: func() time.Time { return now }})
	c.Send(event.Event{Type: event.TypeRecipeStart, Recipe: "r", RecipeStart: &event.RecipeStart{HasCases: true, Total: 100}})
	for i := range 61 {
		now = now.Add(time.Second)
		c.Send(event.Event{Type: event.TypeSampleEnd, Recipe: "r", Case: fmt.Sprint(i), Sample: 1, SampleEnd: &event.Sample{Verdict: event.Passed}})
	}
	want := "r: 100 samples, 1 at a time\n" +
		"r  [======              ]  30/100  0:30  ETA 1:10  30 passed\n" +
		"r  [============        ]  60/100  1:00  ETA 0:40  60 passed\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestDetectConsole(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	env := map[string]string{"TERM": "xterm", "GITHUB_ACTIONS": "true"}
	o := DetectConsole(f, func(k string) string { return env[k] })
	if o.Live || o.Color || !o.GitHub || o.Out != f {
		t.Errorf("a file: %+v", o)
	}
	if w, h := newConsole(o).size(); w != 80 || h != 24 {
		t.Errorf("size of a file: %d, %d", w, h)
	}
}

// gone is a reader that has gone away.
type gone struct{}

func (gone) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}
}

// Output that nobody reads any more is no error; what cannot be written is.
func TestConsoleWithoutReader(t *testing.T) {
	c := newConsole(ConsoleOptions{Out: gone{}})
	c.Send(event.Event{Type: event.TypeWarning, Message: "x"})
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
