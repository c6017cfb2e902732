package plan

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
)

// decodeCSV reads RFC 4180 with a line of names first. All fields are text.
func decodeCSV(r *rowReader, f func(map[string]any, int) error) error {
	c := csv.NewReader(r)
	c.ReuseRecord = true
	header, err := c.Read()
	if errors.Is(err, io.EOF) {
		return errors.New("the file is empty: a first line with the names of the fields is needed")
	}
	if err != nil {
		return csvError(err)
	}
	names := make([]string, len(header))
	seen := map[string]bool{}
	for i, name := range header {
		name = strings.TrimSpace(name)
		if name == "" {
			return &lineError{1, fmt.Errorf("field %d has no name", i+1)}
		}
		if seen[name] {
			return &lineError{1, fmt.Errorf("two fields are named %q", name)}
		}
		names[i], seen[name] = strings.Clone(name), true
	}
	for {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			if errors.Is(err, csv.ErrFieldCount) {
				line, _ := c.FieldPos(0)
				return &lineError{line, fmt.Errorf("%d fields, the first line names %d", len(record), len(names))}
			}
			return csvError(err)
		}
		line, _ := c.FieldPos(0)
		fields := make(map[string]any, len(names))
		for i, name := range names {
			fields[name] = strings.Clone(record[i]) // of a record that is one string
		}
		if err := f(fields, line); err != nil {
			return err
		}
	}
}

func csvError(err error) error {
	if perr, ok := errors.AsType[*csv.ParseError](err); ok {
		return &lineError{perr.Line, fmt.Errorf("column %d: %w", perr.Column, perr.Err)}
	}
	return err
}
