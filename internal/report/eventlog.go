package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// EventLog writes events.jsonl. What Send has taken is in the file when it returns.
type EventLog struct{ lines *lineFile }

// OpenEventLog appends to the log at path. A torn last line is cut off.
func OpenEventLog(path string) (*EventLog, error) {
	lines, err := openLines(path)
	if err != nil {
		return nil, fmt.Errorf("open the event log: %w", err)
	}
	return &EventLog{lines}, nil
}

// Send writes the event. It may be called from several goroutines.
func (l *EventLog) Send(e event.Event) error {
	err := writeLine(l.lines, e, func(e event.Event) any { return &e })
	if err != nil {
		return fmt.Errorf("write the event log: %w", err)
	}
	return nil
}

// Close syncs and closes the log.
func (l *EventLog) Close() error {
	if err := l.lines.close(); err != nil {
		return fmt.Errorf("close the event log: %w", err)
	}
	return nil
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// writeLine writes what line makes of the event, as JSON. Values that cannot be written as they are (NaN, or larger than
// a line) come from cases and from code under test, which must not end the run: they are left out, and it is shown.
func writeLine(lines *lineFile, e event.Event, line func(event.Event) any) error {
	buf := buffers.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() < 1<<20 {
			buffers.Put(buf)
		}
	}()
	err := encode(buf, line(e))
	if err != nil || buf.Len() > event.MaxLine {
		for f := newFitting(e); ; {
			if err = encode(buf, line(f.event)); err != nil {
				return err
			}
			if buf.Len() <= event.MaxLine || !f.shrink(buf.Len()-event.MaxLine) {
				break
			}
		}
		if buf.Len() > event.MaxLine {
			return fmt.Errorf("%s of %s/%s has %d bytes, more than the %d of a line", e.Type, e.Recipe, e.Case, buf.Len(), event.MaxLine)
		}
	}
	return lines.write(buf.Bytes())
}

func encode(buf *bytes.Buffer, v any) error {
	buf.Reset()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
