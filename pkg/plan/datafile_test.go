package plan

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

func gzipped(t testing.TB, text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zstandard(t testing.TB, text string) string {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return string(w.EncodeAll([]byte(text), nil))
}

func TestCompressed(t *testing.T) {
	lines, csv := "{\"n\": 1}\n{\"n\": 2}\n", "n\n1\n2\n"
	files := map[string]string{
		"a.jsonl.gz": gzipped(t, lines), "a.jsonl.zst": zstandard(t, lines), "b.csv.gz": gzipped(t, csv), "a.json.gz": gzipped(t, "[{\"n\": 1}, {}]"),
		"two.jsonl.gz": gzipped(t, "{\"n\": 1}\n") + gzipped(t, "{\"n\": 2}\n"), "a.yaml.zst": zstandard(t, "- {n: 1}\n- {n: 2}"),
	}
	dir := write(t, files)
	for name := range files {
		p, err := Build(t.Context(), load(t, dir, "cases: {file: "+name+"}"), Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if ids, _ := rows(t, p); len(ids) != 2 {
			t.Errorf("%s: rows %v", name, ids)
		}
	}
	cut := files["a.jsonl.gz"]
	for name, content := range map[string]string{"cut.jsonl.gz": cut[:len(cut)-6], "cut.jsonl.zst": files["a.jsonl.zst"][:20], "rest.jsonl.gz": cut + "rest"} {
		dir := write(t, map[string]string{name: content})
		if _, err := Build(t.Context(), load(t, dir, "cases: {file: "+name+"}"), Options{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

// A file that is changed between Build and Rows, or while it is read, is an error.
func TestChanged(t *testing.T) {
	dir := write(t, map[string]string{"r.jsonl": "{\"n\": 1}\n{\"n\": 2}\n"})
	file := filepath.Join(dir, "r.jsonl")
	p, err := Build(t.Context(), load(t, dir, "cases: {file: r.jsonl}"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	read := func() error {
		for _, err := range p.Rows(t.Context()) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	change := func(content string, at time.Time) {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
		if err := read(); err == nil || !strings.Contains(err.Error(), "r.jsonl: the file was changed while") {
			t.Errorf("error is %v", err)
		}
	}
	change("{\"n\": 1}\n{\"n\": 3}\n", info.ModTime()) // found by the digest
	change("{\"n\": 1}\n{\"n\": 2}\n", info.ModTime().Add(time.Hour))
	change("{\"n\": 1}\n", info.ModTime())
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := read(); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("error is %v", err)
	}
}

func TestLongRows(t *testing.T) {
	long := strings.Repeat("x", 200_000) // beyond every buffer
	dir := write(t, map[string]string{
		"r.jsonl": "{\"s\": \"" + long + "\"}\n{\"s\": 1}\n{\"s\": \"" + long + "y\"}", "r.json": "[{\"s\": \"" + long + "\"},\n{\"s\": 1}]", "r.csv": "s\n" + long + "\n1\n",
	})
	for name, want := range map[string][]int{"r.jsonl": {200_000, 0, 200_001}, "r.json": {200_000, 0}, "r.csv": {200_000, 1}} {
		p, err := Build(t.Context(), load(t, dir, "cases: {file: "+name+"}"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		for c, err := range p.Rows(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if s, _ := c.Fields["s"].(string); len(s) != want[i] {
				t.Errorf("%s: row %d has %d bytes, want %d", name, i+1, len(s), want[i])
			}
			i++
		}
		if i != len(want) {
			t.Errorf("%s: %d rows", name, i)
		}
	}

	// One row of 200 MiB is refused without being held.
	endless := io.MultiReader(strings.NewReader("{}\n{\"s\": \""), io.LimitReader(letters{}, 200<<20))
	r, err := newRowReader(t.Context(), endless)
	if err != nil {
		t.Fatal(err)
	}
	err = decodeJSONLines(r, func(map[string]any, int) error { r.nextRow(); return nil })
	if err == nil || !strings.Contains(err.Error(), "line 2: more than 64 MiB without the end") {
		t.Errorf("error is %v", err)
	}
}

// letters is text without an end.
type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// manyRows is a file of n rows in each format.
func manyRows(n int, format string) string {
	var b strings.Builder
	switch format {
	case "csv":
		b.WriteString("id,text\n")
	case "json":
		b.WriteString("[")
	}
	for i := range n {
		switch format {
		case "csv":
			fmt.Fprintf(&b, "row-%d,some text of the row\n", i)
		case "json":
			if i > 0 {
				b.WriteString(",\n")
			}
			fmt.Fprintf(&b, `{"id": "row-%d", "text": "some text of the row"}`, i)
		default:
			fmt.Fprintf(&b, "{\"id\": \"row-%d\", \"text\": \"some text of the row\"}\n", i)
		}
	}
	if format == "json" {
		b.WriteString("]")
	}
	return b.String()
}

// What stays of a row, while a plan is built and while rows are read, is at most 16 bytes.
func TestMemoryOfManyRows(t *testing.T) {
	const n = 300_000
	for _, format := range []string{"jsonl", "json", "csv"} {
		dir := write(t, map[string]string{"r." + format: manyRows(n, format)})
		r := load(t, dir, "cases: {file: r."+format+"}")
		held := func() int64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		before := held()
		var peak int64
		p := &Plan{Recipe: r}
		var err error
		if p.source, err = p.newSource(); err != nil {
			t.Fatal(err)
		}
		var ids hashes
		count := 0
		if err := p.each(t.Context(), true, func(c Case, _ place) error {
			ids.add(hashID(c.ID))
			if count++; count == n {
				peak = held() - before
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if peak > 16*n+(4<<20) {
			t.Errorf("%s: %d rows hold %d bytes", format, n, peak)
		}
		if twice := ids.twice(); len(twice) != 0 {
			t.Errorf("%s: %d hashes are there twice", format, len(twice))
		}
	}
}

func BenchmarkRows(b *testing.B) {
	const n = 100_000
	for _, format := range []string{"jsonl", "json", "csv"} {
		b.Run(format, func(b *testing.B) {
			dir := write(b, map[string]string{"r." + format: manyRows(n, format)})
			r := load(b, dir, "cases: {file: r."+format+"}")
			b.ReportAllocs()
			for b.Loop() {
				p, err := Build(context.Background(), r, Options{})
				if err != nil {
					b.Fatal(err)
				}
				count := 0
				for _, err := range p.Rows(context.Background()) {
					if err != nil {
						b.Fatal(err)
					}
					count++
				}
				if count != n {
					b.Fatalf("%d rows", count)
				}
			}
			b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// Whatever is in a data file, reading it ends with rows or with an error that names a line of the file.
func FuzzDataFile(f *testing.F) {
	for ext := range decoders {
		f.Add(ext, manyRows(2, ext[1:]))
		f.Add(ext, "- {a: 1}\n---\nb: [*x, &x 2]\n")
		f.Add(ext, "\ufeff[{}, {\"id\": 1}]\n{}")
		f.Add(ext, "1\r\r2")
		f.Add(ext, "a,b\n\"1\n\",2\n")
	}
	f.Fuzz(func(t *testing.T, ext, content string) {
		decode := decoders[ext]
		if decode == nil || len(content) > 1<<16 {
			return
		}
		r, err := newRowReader(t.Context(), strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		last := 2 // and what YAML counts as the end of a line
		for _, c := range content {
			if strings.ContainsRune("\n\r\u0085\u2028\u2029", c) {
				last++
			}
		}
		err = decode(r, func(fields map[string]any, line int) error {
			if fields == nil || line < 1 || line > last {
				t.Fatalf("a row on line %d: %v", line, fields)
			}
			return nil
		})
		if line, ok := err.(*lineError); ok && (line.line < 1 || line.line > last) {
			t.Fatalf("an error on line %d of %d: %v", line.line, last, err)
		}
	})
}
