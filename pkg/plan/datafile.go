package plan

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// rowLimit is the most bytes of a data file, after decompression, that one row may take.
const rowLimit = 64 << 20

// decoder reads the rows of one format and calls f with the fields of each and the line that it starts on.
type decoder func(r *rowReader, f func(fields map[string]any, line int) error) error

var decoders = map[string]decoder{
	".jsonl": decodeJSONLines,
	".json":  decodeJSON,
	".csv":   decodeCSV,
	".yaml":  decodeYAML,
	".yml":   decodeYAML,
}

// dataFile is a file of rows. It is read as a stream, each time anew.
type dataFile struct {
	path    string // to open
	name    string // for messages: as the recipe's own path is given
	packing string // .gz, .zst or nothing
	decode  decoder
	sum     string      // of the bytes on disk; empty until the file was read through
	info    os.FileInfo // when it was read through
	fields  fieldSet    // of all rows
}

func newDataFile(dir, name string, at place) (source, error) {
	file := filepath.FromSlash(name)
	d := &dataFile{path: file, name: file, fields: fieldSet{}}
	if !filepath.IsAbs(file) {
		d.path = filepath.Join(dir, file)
		d.name = filepath.Join(filepath.Dir(at.file), file)
	}
	plain := file
	for _, packing := range []string{".gz", ".zst"} {
		if before, ok := strings.CutSuffix(plain, packing); ok {
			d.packing, plain = packing, before
		}
	}
	if d.decode = decoders[filepath.Ext(plain)]; d.decode == nil {
		return nil, at.errorf("cases.file: %s: what the rows are is told by the end of the name: .jsonl, .json, .csv or .yaml, and .gz or .zst after it", name)
	}
	info, err := os.Stat(d.path)
	switch {
	case err != nil:
		return nil, at.errorf("cases.file: %w", err)
	case !info.Mode().IsRegular():
		return nil, at.errorf("cases.file: %s is not a regular file", name)
	}
	return d, nil
}

func (d *dataFile) digest() string { return d.sum }

func (d *dataFile) rows(ctx context.Context, f func(row) error) (err error) {
	file, err := os.Open(d.path)
	if err != nil {
		return place{file: d.name}.errorf("%w", err)
	}
	defer file.Close() // only read
	info, err := file.Stat()
	if err != nil {
		return place{file: d.name}.errorf("%w", err)
	}
	if d.info != nil && (info.Size() != d.info.Size() || !info.ModTime().Equal(d.info.ModTime())) {
		return d.changed()
	}
	sum := sha256.New()
	raw := io.TeeReader(file, sum)
	unpacked, done, err := unpack(raw, d.packing)
	if err != nil {
		return place{file: d.name}.errorf("%w", err)
	}
	defer done()

	count := 0
	r, err := newRowReader(ctx, unpacked)
	if err != nil {
		return place{file: d.name}.errorf("%w", err)
	}
	var own error // of f: passed on as it is
	err = d.decode(r, func(fields map[string]any, line int) error {
		r.nextRow()
		count++
		at := place{d.name, recipe.Pos{Line: line}}
		if !finite(fields) {
			return &lineError{line, errors.New("a number is not finite")}
		}
		if d.sum == "" {
			d.fields.add(fields)
		}
		id, err := ownID(fields, number(count))
		if err != nil {
			return &lineError{line, err}
		}
		own = f(row{fields: fields, id: id, at: at})
		return own
	})
	if err == nil {
		err = discard(unpacked)
	}
	if err == nil {
		err = discard(raw)
	}
	var lerr *lineError
	switch {
	case own != nil:
		return own
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &lerr):
		return place{d.name, recipe.Pos{Line: lerr.line}}.errorf("%w", lerr.err)
	case errors.Is(err, io.ErrUnexpectedEOF) && d.packing != "":
		return place{file: d.name}.errorf("the compressed data ends too early: %w", err)
	case err != nil:
		return place{file: d.name}.errorf("%w", err)
	}
	read := hex.EncodeToString(sum.Sum(nil))
	if d.sum != "" && d.sum != read {
		return d.changed()
	}
	if d.sum == "" { // by Build; later readers may be many
		d.sum, d.info = read, info
	}
	return nil
}

func (d *dataFile) changed() error {
	return place{file: d.name}.errorf("the file was changed while the run was using it")
}

// lineError is a mistake on a line of a data file.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.err) }

// unpack decompresses r. done gives back what that took.
func unpack(r io.Reader, packing string) (_ io.Reader, done func(), err error) {
	switch packing {
	case ".gz":
		z, err := gzip.NewReader(bufio.NewReader(r))
		if err != nil {
			return nil, nil, fmt.Errorf("not a gzip file: %w", err)
		}
		return z, func() { z.Close() }, nil
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, nil, fmt.Errorf("not a zstd file: %w", err)
		}
		return z, z.Close, nil
	}
	return r, func() {}, nil
}

// errLongRow is what a rowReader returns for a row beyond rowLimit.
var errLongRow = fmt.Errorf("more than %d MiB without the end of a row or document", rowLimit>>20)

// rowReader is the text of a data file. It drops a byte order mark and ends with an error when a row is longer than
// rowLimit or the context is cancelled.
type rowReader struct {
	ctx  context.Context
	r    io.Reader
	left int // bytes that the row may still take

	read     int64   // bytes given out
	track    bool    // keep newlines, for line
	newlines []int64 // offsets of those since the last call of line
	before   int     // newlines that were forgotten
}

func newRowReader(ctx context.Context, r io.Reader) (*rowReader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	if mark, _ := b.Peek(3); string(mark) == "\xef\xbb\xbf" {
		if _, err := b.Discard(3); err != nil {
			return nil, err
		}
	}
	return &rowReader{ctx: ctx, r: b, left: rowLimit}, nil
}

// nextRow says that a row has been read.
func (r *rowReader) nextRow() { r.left = rowLimit }

func (r *rowReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if r.left <= 0 {
		return 0, errLongRow
	}
	n, err := r.r.Read(p[:min(len(p), r.left)])
	if r.track {
		for i, c := range p[:n] {
			if c == '\n' {
				r.newlines = append(r.newlines, r.read+int64(i))
			}
		}
	}
	r.left -= n
	r.read += int64(n)
	return n, err
}

// line is the line, from 1, on which an offset is. Offsets must not go back, and track must be set.
func (r *rowReader) line(offset int64) int {
	i := 0
	for i < len(r.newlines) && r.newlines[i] < offset {
		i++
	}
	r.before += i
	r.newlines = append(r.newlines[:0], r.newlines[i:]...)
	return r.before + 1
}
