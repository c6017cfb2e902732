package plan

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/sbxrun/sbxrun/internal/expr"
)

// decodeJSONLines reads an object on every line. Empty lines are passed over.
func decodeJSONLines(r *rowReader, f func(map[string]any, int) error) error {
	lines := bufio.NewReaderSize(r, 64<<10)
	var long []byte // a line that is longer than the buffer
	for number := 1; ; number++ {
		line, err := lines.ReadSlice('\n')
		for errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, line...)
			line, err = lines.ReadSlice('\n')
		}
		if len(long) > 0 {
			line = append(long, line...)
			long = line[:0]
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return &lineError{number, err}
		}
		if text := bytes.TrimSpace(line); len(text) > 0 {
			fields, derr := object(text)
			if derr != nil {
				return &lineError{number, derr}
			}
			if err := f(fields, number); err != nil {
				return err
			}
		} else {
			r.nextRow()
		}
		if err != nil {
			return nil
		}
	}
}

// decodeJSON reads a list of objects, one at a time.
func decodeJSON(r *rowReader, f func(map[string]any, int) error) error {
	r.track = true
	d := json.NewDecoder(r)
	fail := func(err error) error {
		if r.ctx.Err() != nil {
			return err
		}
		at := d.InputOffset()
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = max(at, syntax.Offset-1)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			at, err = r.read, errors.New("the file ends within the list")
		}
		return &lineError{r.line(at), err}
	}
	first, err := d.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("the file is empty: a list of objects is needed")
		}
		return fail(err)
	}
	if first != json.Delim('[') {
		return &lineError{r.line(d.InputOffset() - 1), errors.New("a list of objects is needed (for one object on each line the name ends in .jsonl)")}
	}
	var raw json.RawMessage
	for d.More() {
		if err := d.Decode(&raw); err != nil {
			return fail(err)
		}
		line := r.line(d.InputOffset() - int64(len(raw)))
		fields, err := object(raw)
		if err != nil {
			return &lineError{line, err}
		}
		if err := f(fields, line); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return fail(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return &lineError{r.line(d.InputOffset()), errors.New("there is more after the list")}
	}
	return nil
}

// object decodes the fields of a row.
func object(text []byte) (map[string]any, error) {
	v, err := expr.DecodeJSON(text)
	if err != nil {
		return nil, err
	}
	return rowFields(v)
}

func rowFields(v any) (map[string]any, error) {
	fields, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("a row must be an object with fields, this is %s", kind(v))
	}
	return fields, nil
}

func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "text"
	case bool:
		return "true or false"
	case []any:
		return "a list"
	}
	return "a number"
}
