package event_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sbxrun/sbxrun/pkg/event"
)

func read(r io.Reader) (types []string, err error) {
	for e, err := range event.Read(r) {
		if err != nil {
			return types, err
		}
		types = append(types, string(e.Type))
	}
	return types, nil
}

func TestRead(t *testing.T) {
	const (
		start = `{"type":"run.start","run":{"format":1,"id":"x"}}` + "\n"
		warn  = `{"type":"warning","message":"m"}` + "\n"
		end   = `{"type":"run.end","run_end":{"exit":0}}` + "\n"
	)
	for _, test := range []struct{ name, log, want, err string }{
		{"whole", start + warn + end, "run.start warning run.end", ""},
		{"empty", "", "", ""},
		{"empty lines", "\n" + start + " \n\n" + end, "run.start run.end", ""},
		{"torn", start + warn[:20], "run.start", ""},
		{"torn within a payload's absence", start + `{"type":"run.end"`, "run.start", ""},
		{"zeros after a power cut", start + "\x00\x00\x00", "run.start", ""},
		{"only the newline is missing", start + strings.TrimSpace(end), "run.start run.end", ""},
		{"not known", start + `{"type":"later","step":7}` + "\n" + `{"type":"warning","message":"m","new":[1]}` + "\n", "run.start warning", ""},
		{"corrupt", start + warn[:20] + "\n" + end, "run.start", "line 2: not an event: "},
		{"no object", start + "[1]\n", "run.start", "line 2: not an event"},
		{"no type", start + "{}\n", "run.start", "line 2: not an event: it has no type"},
		{"wrong type of a field", start + `{"type":"warning","message":7}` + "\n", "run.start", "line 2: not an event: message is a JSON number"},
		{"no payload", start + `{"type":"sample.end","recipe":"a"}` + "\n", "run.start", "line 2: sample.end without sample_end"},
		{"no recipe", `{"type":"sample.start"}` + "\n", "", "line 1: sample.start without recipe"},
		{"format", `{"type":"run.start","run":{"format":2}}` + "\n", "", "line 1: the log has format 2, this version of sbxrun reads 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(test.log), iotest.OneByteReader(strings.NewReader(test.log))} {
				types, err := read(r)
				if got := strings.Join(types, " "); got != test.want {
					t.Errorf("read %q, want %q", got, test.want)
				}
				if (err == nil) != (test.err == "") || err != nil && !strings.HasPrefix(err.Error(), test.err) {
					t.Errorf("error %v, want %q", err, test.err)
				}
			}
		})
	}
}

func TestReadLongLines(t *testing.T) {
	line := func(n int) string {
		const frame = `{"type":"warning","message":""}`
		return `{"type":"warning","message":"` + strings.Repeat("x", n-len(frame)) + `"}` + "\n"
	}
	types, err := read(strings.NewReader(line(event.MaxLine) + line(100)))
	if err != nil || len(types) != 2 {
		t.Errorf("read %v, %v", types, err)
	}
	// Without an end the line is not read to its end.
	endless := io.MultiReader(strings.NewReader(line(100)), endlessX{})
	types, err = read(endless)
	if err == nil || err.Error() != "line 2: longer than 16777216 bytes" || len(types) != 1 {
		t.Errorf("read %v, %v", types, err)
	}
}

type endlessX struct{}

func (endlessX) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestReadErrorOfTheFile(t *testing.T) {
	broken := errors.New("broken disk")
	_, err := read(io.MultiReader(strings.NewReader("\n"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

func TestReaderOffset(t *testing.T) {
	log := `{"type":"warning","message":"é"}` + "\n" + `{"type":"left","message":"b"}` + "\n"
	r := event.NewReader(strings.NewReader(log))
	for range 2 {
		at := r.Offset()
		e, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		again, err := event.NewReader(strings.NewReader(log[at:r.Offset()])).Next()
		if err != nil || again.Message != e.Message {
			t.Errorf("at %d: %+v, %v", at, again, err)
		}
	}
	if r.Offset() != int64(len(log)) {
		t.Errorf("offset %d at the end of %d bytes", r.Offset(), len(log))
	}
}

func TestReaderSkip(t *testing.T) {
	log := `{"time":"2026-01-01T00:00:00Z","type":"warning","message":{}` + "\n" + // not even an event
		`{"type":"warning","message":"written by others","time":"2026-01-01T00:00:00Z"}` + "\n" +
		`{"time":"2026-01-01T00:00:00Z","type":"left","message":"x"}` + "\n"
	r := event.NewReader(strings.NewReader(log))
	r.Skip(event.TypeWarning)
	if e, err := r.Next(); err != nil || e.Type != event.TypeLeft {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"type":"run.start","run":{"format":1}}` + "\n" + `{"type":"sample.end","recipe":"a","sample_end":{"steps":[]}}`))
	f.Fuzz(func(t *testing.T, log []byte) {
		var s event.Summary
		for e, err := range event.Read(strings.NewReader(string(log))) {
			if err != nil {
				return
			}
			s.Add(e)
		}
	})
}
