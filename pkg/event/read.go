package event

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Format is the format of the log that this package reads and writes.
const Format = 1

// MaxLine is the size of the longest line of a log, in bytes without the newline. What writes logs keeps to it.
const MaxLine = 16 << 20

// Read reads a log. A last line that was not written to its end is left out; any other line that is no event is an
// error with its number, and the last thing it yields. Types and fields that are not known pass by. Numbers in the
// fields of cases and in captures are of type json.Number.
func Read(r io.Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		reader := NewReader(r)
		for {
			e, err := reader.Next()
			if errors.Is(err, io.EOF) || !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Reader reads a log and knows where it is in it.
type Reader struct {
	r      *bufio.Reader
	long   []byte
	line   int
	offset int64
	skip   map[Type]bool
}

// NewReader is a Reader of r.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 64<<10)} }

// Skip makes Next pass by events of these types, without reading what else is in their lines.
func (r *Reader) Skip(types ...Type) {
	r.skip = map[Type]bool{}
	for _, t := range types {
		r.skip[t] = true
	}
}

// Offset is where the line after that of the last event begins.
func (r *Reader) Offset() int64 { return r.offset }

// Next is the next event, or io.EOF. After an error it is not called again.
func (r *Reader) Next() (Event, error) {
	for {
		line, whole, err := r.read()
		if err != nil {
			return Event{}, err
		}
		if len(bytes.TrimSpace(line)) == 0 || r.skip[typeOf(line)] {
			continue
		}
		e, known, err := decode(line)
		switch {
		case err != nil && !whole:
			return Event{}, io.EOF // torn: the process that wrote it died in the middle
		case err != nil:
			return Event{}, fmt.Errorf("line %d: %w", r.line, err)
		case known && !r.skip[e.Type]:
			return e, nil
		}
	}
}

// read is the next line and whether its newline is there.
func (r *Reader) read() (line []byte, whole bool, err error) {
	r.line++
	r.long = r.long[:0]
	for {
		part, err := r.r.ReadSlice('\n')
		r.offset += int64(len(part))
		if len(r.long)+len(part) > MaxLine+1 {
			return nil, false, fmt.Errorf("line %d: longer than %d bytes", r.line, MaxLine)
		}
		switch {
		case err == nil && len(r.long) == 0:
			return part, true, nil
		case errors.Is(err, bufio.ErrBufferFull):
			r.long = append(r.long, part...)
		case err == nil:
			r.long = append(r.long, part...)
			return r.long, true, nil
		case err == io.EOF && len(r.long)+len(part) == 0:
			return nil, false, io.EOF
		case err == io.EOF:
			r.long = append(r.long, part...)
			return r.long, false, nil
		default:
			return nil, false, fmt.Errorf("line %d: %w", r.line, err)
		}
	}
}

// typeOf is the type of the event in a line as this package writes it, with the time and the type first; else it is empty.
func typeOf(line []byte) Type {
	rest, ok := bytes.CutPrefix(line, []byte(`{"time":"`))
	if !ok {
		return ""
	}
	if _, rest, ok = bytes.Cut(rest, []byte(`"`)); !ok {
		return ""
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"type":"`)); !ok {
		return ""
	}
	t, _, _ := bytes.Cut(rest, []byte(`"`))
	return Type(t)
}

// decode reads an event. An event of a type that is not known is no error, whatever its fields.
func decode(line []byte) (e Event, known bool, err error) {
	err = unmarshal(line, &e)
	if err != nil {
		var head struct {
			Type Type `json:"type"`
		}
		if json.Unmarshal(line, &head) != nil || head.Type == "" || isKnown(head.Type) {
			return Event{}, false, notEvent(err)
		}
		return Event{}, false, nil
	}
	if e.Type == "" {
		return Event{}, false, errors.New("not an event: it has no type")
	}
	if !isKnown(e.Type) {
		return Event{}, false, nil
	}
	return e, true, e.check()
}

// unmarshal keeps numbers of cases and captures as they are written, as json.Number: a float64 would change long ones.
func unmarshal(line []byte, e *Event) error {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	if err := dec.Decode(e); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("more than one value")
	}
	return nil
}

func notEvent(err error) error {
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		return fmt.Errorf("not an event: %s is a JSON %s", wrong.Field, wrong.Value)
	}
	return fmt.Errorf("not an event: %w", err)
}

func isKnown(t Type) bool {
	switch t {
	case TypeRunStart, TypeRecipeStart, TypeSampleStart, TypeStepStart, TypeTryEnd, TypeStepEnd, TypeInfraRetry,
		TypeSampleEnd, TypeWarning, TypeLeft, TypeRecipeEnd, TypeRunEnd:
		return true
	}
	return false
}

// check says whether the event has what its type promises, so that nobody who folds events has to.
func (e *Event) check() error {
	var missing string
	switch {
	case e.Type == TypeRunStart && e.Run == nil:
		missing = "run"
	case e.Type == TypeRecipeStart && e.RecipeStart == nil:
		missing = "recipe_start"
	case e.Type == TypeStepStart && e.StepStart == nil:
		missing = "step_start"
	case e.Type == TypeTryEnd && e.Try == nil:
		missing = "try"
	case e.Type == TypeStepEnd && e.StepEnd == nil:
		missing = "step"
	case (e.Type == TypeSampleEnd || e.Type == TypeInfraRetry) && e.SampleEnd == nil:
		missing = "sample_end"
	case e.Type == TypeRecipeEnd && e.RecipeEnd == nil:
		missing = "recipe_end"
	case e.Type == TypeRunEnd && e.RunEnd == nil:
		missing = "run_end"
	case e.Recipe == "" && e.aboutRecipe():
		missing = "recipe"
	}
	if missing != "" {
		return fmt.Errorf("%s without %s", e.Type, missing)
	}
	if e.Type == TypeRunStart && e.Run.Format != Format {
		return fmt.Errorf("the log has format %d, this version of sbxrun reads %d", e.Run.Format, Format)
	}
	return nil
}

func (e *Event) aboutRecipe() bool {
	switch e.Type {
	case TypeRunStart, TypeRunEnd, TypeWarning, TypeLeft:
		return false
	}
	return true
}
